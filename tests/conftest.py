"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pretask.config.sections import RunConfig

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real image sets; tests that need it skip where it is absent."""
    given = os.environ.get("PRETASK_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set PRETASK_TEST_DATA to a folder that has them")
    return folder


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., RunConfig]:
    """Makes configurations whose runs go to the test's own folder."""

    from pretask.config.files import from_flat

    def make(**values: Any) -> RunConfig:
        small = {
            "data": "digits", "per_class": 8, "backbone": "resnet8", "method": "sla", "epochs": 2, "batch_size": 16,
            "lr": 0.1, "threads": 1, "device": "cpu", "runs": str(tmp_path), "name": "run",
        }  # fmt: skip
        return from_flat({**small, **values})

    return make
