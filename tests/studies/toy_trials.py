"""Trials that train nothing: each writes that it began, works a while, and leaves a file."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from pretask.studies.execution import Execution
from pretask.studies.executors import Executor, create_executor
from pretask.studies.trials import LOCKS, Trial


@dataclass(frozen=True)
class Toy:
    """What a toy trial does, and leaves.

    Attributes:
        folder, name: where, and what.
        seconds: of work.
        fault: raised instead of leaving anything.
        deaths: how often its process kills itself first.
    """

    folder: Path
    name: str
    seconds: float = 0.0
    fault: BaseException | None = None
    deaths: int = 0

    @property
    def finished(self) -> bool:
        return (self.folder / self.name / "results").is_file()

    def work(self) -> str:
        with (self.folder / "log").open("a") as log:
            log.write(f"{self.name} {os.getpid()} begins\n")
        time.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        if len(begun(self.folder, self.name)) <= self.deaths:
            os.kill(os.getpid(), 9)
        (self.folder / self.name).mkdir(exist_ok=True)
        (self.folder / self.name / "results").touch()
        with (self.folder / "log").open("a") as log:
            log.write(f"{self.name} {os.getpid()} ends\n")
        return "well made"

    def trial(self) -> Trial:
        lock = self.folder / LOCKS / f"{self.name}.lock"
        return Trial(self.name, lock, self, self.work, (self.folder / self.name,))


def begun(folder: Path, name: str) -> list[str]:
    """Return the processes that began a trial."""
    return [line.split()[1] for line in log_lines(folder) if line.startswith(f"{name} ") and "begins" in line]


def log_lines(folder: Path) -> list[str]:
    file = folder / "log"
    return file.read_text().splitlines() if file.is_file() else []


def local(jobs: int = 1, retries: int = 3) -> Executor:
    return create_executor(Execution(jobs=jobs, retries=retries), "cpu")
