"""A trial: one piece of work of a study, which only one process does at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pretask.data.parallel import without_bars
from pretask.errors import Interrupted, PretaskError
from pretask.io.locks import Held, held

LOCKS = ".locks"
"""Folder of a study's locks, below the study's own."""
MADE_ELSEWHERE = "made by another process"


class Results(Protocol):
    """What a trial leaves on disk."""

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        ...


@dataclass(frozen=True)
class Trial:
    """One piece of work of a study, which leaves its results on disk and resumes from there when it is called again.

    Attributes:
        name: as messages show it; unique within the study.
        lock: file that the process that makes it holds.
        results: what it leaves on disk.
        work: makes them, and returns a line about them. All of it goes to other processes.
        folders: of its runs, in their order.
    """

    name: str
    lock: Path
    results: Results
    work: Callable[[], str]
    folders: tuple[Path, ...]

    @property
    def finished(self) -> bool:
        """Whether its results are there by now."""
        return self.results.finished


@dataclass(frozen=True)
class Answer:
    """What became of a trial.

    Attributes:
        kind: "done"; "failed" for a reason that would come again; "busy" where another process is at it; "stopped" by
            the user; "died" with its process.
        words: a line about the results, or the reason.
    """

    kind: Literal["done", "failed", "busy", "stopped", "died"]
    words: str = ""


def make(trial: Trial) -> Answer:
    """Make a trial in this process, unless another one is at it or has finished it meanwhile."""
    try:
        with held(trial.lock), without_bars():
            # Another process may have made the results since the caller looked for them, before this one had the lock.
            return Answer("done", MADE_ELSEWHERE if trial.finished else trial.work())
    except Held:
        return Answer("busy")
    except Interrupted as stop:
        return Answer("stopped", str(stop))
    except PretaskError as fault:
        return Answer("failed", str(fault))
    except Exception as defect:  # a defect or a lack of memory in one trial leaves the others their chance
        return Answer("failed", f"{type(defect).__name__}: {defect}")
