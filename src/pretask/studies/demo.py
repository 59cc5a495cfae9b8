"""The main job on an embedded data set: few labels, every way of using rotations, a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from pretask.config.files import from_flat
from pretask.studies.compare import compare
from pretask.studies.execution import Execution

SETTINGS: dict[str, Any] = {
    "data": "digits",
    "per_class": 10,
    "validation": 0.2,
    "backbone": "resnet8",
    "epochs": 30,
    "batch_size": 25,
    "lr": 0.1,
    "warmup_epochs": 2,
    "eval_every": 2,
    "device": "cpu",
    "threads": 1,
}
METHODS = ("baseline", "da", "mt", "sla", "sla-sd")


def run_demo(
    seeds: int = 3, folder: Path = Path("demo"), jobs: int = 1, console: Console | None = None
) -> dict[str, Any]:
    """Compare all methods on digits with ten labels per class, and write `report.html`.

    Args:
        seeds: runs per method.
        folder: for runs, table and report; a demo that was stopped there is resumed.
        jobs: runs at a time, a thread each: images this small leave further threads idle.
        console: for progress and the table.

    Returns:
        the study, see `pretask.compare`.
    """
    config = from_flat({**SETTINGS, "runs": str(folder.parent), "name": folder.name})
    return compare(
        config, METHODS, seeds, equal_compute=True, execution=Execution(jobs=jobs), console=console
    )
