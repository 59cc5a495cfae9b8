"""A small run on embedded digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretask.config.files import from_flat
from pretask.config.sections import RunConfig


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., RunConfig]:
    """Makes configurations whose runs go to the test's own folder."""

    def make(**values: Any) -> RunConfig:
        small = {
            "data": "digits", "per_class": 8, "backbone": "resnet8", "epochs": 2, "batch_size": 16, "threads": 1,
            "device": "cpu", "runs": str(tmp_path), "name": "run",
        }  # fmt: skip
        return from_flat({**small, **values})

    return make
