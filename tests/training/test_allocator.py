"""Memory that a training frees stays with its process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import torch
from pretask.training.device import keep_freed_memory

print(keep_freed_memory())
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(20_000_000)
before = faults()
for _ in range(10):
    torch.ones(20_000_000)
print(faults() - before)
"""


def count_faults(**variables: str) -> tuple[str, int]:
    """Return whether memory is kept, and the page faults of ten tensors of 80 MB after others of that size."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS],
        capture_output=True, text=True, check=True, env={**environment, **variables},
    )  # fmt: skip
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
def test_tensors_of_one_size_take_the_same_pages_again() -> None:
    kept, faults = count_faults()
    assert kept == "True"
    _, by_default = count_faults(MALLOC_ARENA_TEST="8")
    assert faults * 10 < by_default


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
def test_a_choice_of_the_user_stands() -> None:
    assert count_faults(MALLOC_ARENA_TEST="8")[0] == "False"
