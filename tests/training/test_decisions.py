"""What processes of one run could find otherwise each for itself: the first one's answer is that of all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pretask import configure
from pretask.config.sections import SessionConfig
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError
from pretask.tasks.run import join_processes
from pretask.training import data, device
from ranks import run_ranks

CPU = torch.device("cpu")


def decide_on_rank(rank: int, world: int, folder: Path) -> None:
    asked = []

    def time_of(*dtypes: torch.dtype) -> dict[torch.dtype, float]:
        asked.append(dtypes)
        return {torch.float32: 2.0 if rank == 0 else 1.0, torch.bfloat16: 1.0}

    device._conv_seconds = time_of
    assert device.resolve_precision("auto", CPU) == "bf16"
    assert len(asked) == (rank == 0)
    # A process that comes late asks for what the first has decided, and written into the run's folder.
    assert device.resolve_precision("auto" if rank == 0 else "bf16", CPU) == "bf16"


def test_precision_is_timed_by_the_first_process_alone(tmp_path: Path) -> None:
    run_ranks(decide_on_rank, 2, tmp_path)


def look_up_on_rank(rank: int, world: int, folder: Path) -> None:
    data.fixed_source = lambda source: f"{source}@{rank}"
    config = configure({"data": "hf://datasets/owner/pets"})
    assert data.fix_version(config).data.data == "hf://datasets/owner/pets@0"


def test_the_commit_is_looked_up_once(tmp_path: Path) -> None:
    run_ranks(look_up_on_rank, 2, tmp_path)


def fail_on_rank(rank: int, world: int, folder: Path) -> None:
    def find() -> str:
        raise PretaskError(f"rank {rank} has no network")

    with pytest.raises(PretaskError, match="rank 0 has no network"):
        found_by_first(find)
    dist.barrier()


def test_a_fault_of_the_first_is_that_of_all(tmp_path: Path) -> None:
    run_ranks(fail_on_rank, 2, tmp_path)


def profile_on_rank(rank: int, world: int, folder: Path) -> None:
    with pytest.raises(PretaskError, match="--profile looks at one process"):
        join_processes(SessionConfig(device="cpu", threads=1, profile=2))


def test_several_processes_on_a_cpu_are_not_profiled(tmp_path: Path) -> None:
    run_ranks(profile_on_rank, 2, tmp_path)
