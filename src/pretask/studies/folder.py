"""A study on disk: where it lies, how it begins, and what it leaves beside its runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from pretask.errors import PretaskError
from pretask.files import write_atomically, write_json
from pretask.studies.plan import Cell, Plan, cell_config
from pretask.training.config import SessionConfig
from pretask.training.config_files import C
from pretask.training.device import hardware, resolve_device
from pretask.training.run_folder import RunFolder, describe_environment


def study_folder(session: SessionConfig, default: str) -> Path:
    """Return the folder of a study, which has the name that the user gave or `default`."""
    return Path(session.runs) / (session.name or default)


def open_cells(plan: Plan, config: C, folder: Path) -> dict[Cell, tuple[C, RunFolder]]:
    """Return the configuration and the run folder of each cell.

    Raises:
        PretaskError: a folder holds a run of other settings, which is not this study's.
    """
    cells = {}
    for cell in plan.cells():
        settings, run = cell_config(config, cell, str(folder)), RunFolder(folder / cell.name)
        if run.begun:
            run.open(settings)
        cells[cell] = (settings, run)
    return cells


def announce(console: Console | None, plan: Plan, folder: Path, total: int, finished: int) -> None:
    """Tell what a study is made of."""
    if console is None:
        return
    done = f", {finished} already finished" if finished else ""
    console.print(
        f"study {folder}: {len(plan.variants)} methods x {len(plan.seeds)} seeds, {total} runs{done}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def read_finished(plan: Plan, folder: Path) -> dict[Cell, tuple[RunFolder, dict[str, Any]]]:
    """Return the runs that have results, with these.

    Raises:
        PretaskError: there is none.
    """
    found = {cell: RunFolder(folder / cell.name) for cell in plan.cells()}
    finished = {cell: (run, run.read_results()) for cell, run in found.items() if run.finished}
    if not finished:
        raise PretaskError(f"no run of the study in {folder} finished: see the messages above")
    return finished


def provenance(session: SessionConfig) -> dict[str, Any]:
    """Return "command", "created" and "environment" of a study."""
    environment = describe_environment(hardware(resolve_device(session.device)))
    return {
        "command": environment.pop("command"),
        "created": environment.pop("started"),
        "environment": environment,
    }


def write_study(
    study: dict[str, Any],
    folder: Path,
    table: str,
    write_report: Callable[[dict[str, Any], Path], Path],
    console: Console | None,
) -> dict[str, Any]:
    """Write `study.json`, `table.md` and `report.html`; return the study with "folder"."""
    write_json(folder / "study.json", study)
    write_atomically(folder / "table.md", lambda path: path.write_text(table))
    report = write_report(study, folder / "report.html")
    if console is not None:
        console.print(f"report: {report}", highlight=False, soft_wrap=True)
    return {**study, "folder": str(folder)}
