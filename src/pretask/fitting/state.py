"""What a job has done so far, on disk, so that a job that was killed loses no phase."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pretask.errors import PretaskError
from pretask.io.documents import read_sealed, write_sealed

FILE = "fit.json"


class State:
    """The phases of a job that are done, and the time that they took.

    Args:
        folder: of the job.
        asked: what the user asked; a job that was asked something else is not resumed.
        started: when this process began to work for it, as `time.time` has it.

    Raises:
        PretaskError: the folder holds a job that was asked something else.
    """

    def __init__(self, folder: Path, asked: dict[str, Any], started: float) -> None:
        self.path = folder / FILE
        self.started = started
        self.done: dict[str, Any] = {"asked": asked, "spent": 0.0}
        if self.path.is_file():
            self.done = read_sealed(self.path, "delete it, and the job begins again")
            self._compare(asked, folder)
        self.before = float(self.done["spent"])

    @property
    def spent(self) -> float:
        """Seconds since the job's first start, without those in which it did not run."""
        return self.before + time.time() - self.started

    def __contains__(self, phase: str) -> bool:
        return phase in self.done

    def __getitem__(self, phase: str) -> Any:
        return self.done[phase]

    def keep(self, phase: str, found: Any) -> Any:
        """Write what a phase found, and return it."""
        self.done[phase] = found
        self.done["spent"] = self.spent
        write_sealed(self.path, self.done)
        return found

    def _compare(self, asked: dict[str, Any], folder: Path) -> None:
        for key, value in asked.items():
            old = self.done["asked"].get(key)
            if old != value:
                raise PretaskError(
                    f"{folder} was started with {key} = {old}, now {key} = {value} is asked: give the same settings "
                    "to resume, or another --name for a new job"
                )
