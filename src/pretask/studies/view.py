"""What a person sees of a study: a line for each trial that ends, and in a terminal what the others are at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pretask.config.files import load_any_config
from pretask.errors import PretaskError
from pretask.studies.trials import Trial
from pretask.training.display import say
from pretask.training.run_folder import RunFolder

_MOST_LINES = 16


class StudyView:
    """Shows the course of a study, all of it read from files: trials may be made on other machines.

    Args:
        console: where to print; quiet when None.
        trials: of the study.
        done: how many were finished before.
    """

    def __init__(self, console: Console | None, trials: Sequence[Trial], done: int) -> None:
        self._console, self._total, self._done = console, len(trials), done
        self._open = [trial for trial in trials if not trial.finished]
        self._before = {trial.name: _last_change(trial) for trial in self._open}
        self._lengths: dict[Path, str] = {}
        self._live: Live | None = None
        if console is not None and console.is_terminal:
            self._live = Live(
                get_renderable=self._draw, console=console, refresh_per_second=1, transient=True
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str | None) -> None:
        """Print a line, if there is one."""
        if line is not None:
            say(self._console, line)

    def ended(self, trial: Trial, words: str, failed: bool = False) -> None:
        """Print that a trial has ended, and how."""
        self._open.remove(trial)
        self._done += 1
        self.say(f"[{self._done}/{self._total}] {trial.name}{' failed' * failed}: {words}")

    def _draw(self) -> Group:
        """Return a line for each trial that is under way: its length so far, loss and validation."""
        table = Table.grid(padding=(0, 2))
        under_way = [trial for trial in self._open if _last_change(trial) != self._before[trial.name]]
        for trial in under_way[:_MOST_LINES]:
            table.add_row(*(Text(cell, no_wrap=True) for cell in (trial.name, *self._state(trial))))
        more = len(under_way) - _MOST_LINES
        waiting = len(self._open) - len(under_way)
        summary = f"{self._done} of {self._total} done, {len(under_way)} under way, {waiting} waiting"
        counts = Text(summary + (f" ({more} more than shown)" if more > 0 else ""), style="dim")
        return Group(table, counts) if under_way else Group(counts)

    def _state(self, trial: Trial) -> tuple[str, ...]:
        """Return what the trial's latest run is at, as its files say."""
        begun = [run for run in map(RunFolder, trial.folders) if run.config.is_file()]
        if not begun:
            return ("begins",)
        run = begun[-1]
        records, length = run.read_metrics(), self._length(run)
        part = run.path.name.removeprefix(trial.name).lstrip("-")  # "tuned-0.1" of a pre-training's trial
        so_far = _so_far(records[-1], length) if records else 0
        return (f"{part} {so_far} of {length}".lstrip(), *(_latest(records[-1]) if records else ()))

    def _length(self, run: RunFolder) -> str:
        """Return how long a run trains, "100 epochs" or "4000 steps"."""
        if run.path not in self._lengths:
            try:
                optim = load_any_config(run.config).optim
            except PretaskError:  # it is being written
                return "?"
            length = f"{optim.epochs} epochs" if optim.steps is None else f"{optim.steps} steps"
            self._lengths[run.path] = length
        return self._lengths[run.path]


def _so_far(record: dict[str, Any], length: str) -> int:
    return int(record["step" if length.endswith("steps") else "epoch"])


def _latest(record: dict[str, Any]) -> list[str]:
    loss = record["train"].get("loss")
    parts = [] if loss is None else [f"loss {loss:.3f}"]
    for metrics in record.get("validation", {}).values():
        if metrics.get("top1") is not None:
            parts.append(f"validation {100 * metrics['top1']:.1f} %")
            break
    return parts


def _last_change(trial: Trial) -> float:
    """Return when the trial was begun or last wrote metrics; 0 where it was never begun."""
    files = (trial.lock, *(RunFolder(path).metrics for path in trial.folders))
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)
