"""What a person sees of a training: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pretask.errors import printable

_SECONDS_BETWEEN_LINES = 10.0


class Display:
    """Shows the course of one training.

    Args:
        console: where to print; quiet when None (ranks other than the first).
        title: of the run.
        total: steps of the training.
        done: steps done before a resume.
        limit: seconds after which it ends in any case.
    """

    def __init__(
        self, console: Console | None, title: str, total: int, done: int = 0, limit: float | None = None
    ) -> None:
        self._console = console
        self._last_line = -_SECONDS_BETWEEN_LINES
        self._started, self._done_before, self._total = time.perf_counter(), done, total
        self._limit = math.inf if limit is None else limit
        self._bar: Progress | None = None
        if console is not None and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(), TextColumn("{task.fields[facts]}", markup=False),
                console=console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task(title, total=total, completed=done, facts="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int, means: dict[str, float], images_per_second: float) -> None:
        """Show the state after `step` steps."""
        if self._bar is not None:
            self._bar.update(
                self._task, completed=step, facts=f"{_numbers(means)}  {images_per_second:.0f} img/s"
            )

    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """Show an epoch's record; lines that would come faster than one in ten seconds are left out."""
        if self._console is None:
            return
        now = time.perf_counter()
        last = record["epoch"] == epochs
        if now - self._last_line < _SECONDS_BETWEEN_LINES and not last:
            return
        self._last_line = now
        left = (
            (now - self._started)
            / max(1, record["step"] - self._done_before)
            * (self._total - record["step"])
        )
        left = min(left, max(0.0, self._limit - record["seconds"]))
        validation = "".join(
            f"  validation {100 * metrics['top1']:.2f} % ({name})"
            for name, metrics in record.get("validation", {}).items()
            if metrics.get("top1") is not None
        )
        self._console.print(
            f"epoch {record['epoch']}/{epochs}  {_numbers(record['train'])}{validation}  "
            f"{record['images_per_second']:.0f} img/s  {_clock(left)} left",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _numbers(means: dict[str, float]) -> str:
    shown = {name: value for name, value in means.items() if name == "loss" or name.endswith("accuracy")}
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.3f}"
        if name == "loss"
        else f"{name.replace('_', ' ')} {100 * value:.1f} %"
        for name, value in shown.items()
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def say(console: Console | None, line: str) -> None:
    """Print a line, where there is a console: no markup, and what would command a terminal as escapes."""
    if console is not None:
        console.print(printable(line), highlight=False, soft_wrap=True, markup=False)


def in_minutes(seconds: float) -> str:
    """Return a time in words: seconds up to two minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def in_bytes(count: float) -> str:
    """Return bytes as people say them: "1.2 GB", "85 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
