"""What an executor is, and the list of all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pretask.errors import PretaskError
from pretask.registry import Registry
from pretask.studies.execution import Execution
from pretask.studies.trials import Answer, Trial


class Executor(ABC):
    """Makes trials, several at a time, by calling `trials.make` wherever it has processes.

    It hands out what it is given and reports what came of it. Which trials there are, which are tried again and what
    the user sees is the study's business.

    Args:
        execution: numbers that were checked.
        device: of the study's configuration: "auto", "cpu", "cuda" or "mps".

    Attributes:
        in_process: whether trials are made in this process, so that they can take objects that cannot leave it.
        foreign: fields of `Execution` that mean nothing here.

    Raises:
        MissingExtra: a package that this executor needs is absent.
    """

    in_process: bool = False
    foreign: ClassVar[tuple[str, ...]] = ()

    def __init__(self, execution: Execution, device: str) -> None:
        self.execution, self.device = execution, device

    @property
    @abstractmethod
    def threads(self) -> int | None:
        """Threads that a trial should use; None leaves it to the trial."""

    @property
    @abstractmethod
    def slots(self) -> int | None:
        """Trials that are taken at a time; None for any number."""

    @abstractmethod
    def start(self, folder: Path) -> str | None:
        """Get ready, and return a line on where trials are made, if there is something to say.

        Args:
            folder: the study's, which exists.

        Raises:
            PretaskError: the place is not there, or has no room for a trial.
        """

    @abstractmethod
    def submit(self, trial: Trial) -> None:
        """Take a trial; there is a free slot."""

    @abstractmethod
    def wait(self, seconds: float) -> Sequence[tuple[Trial, Answer]]:
        """Return trials that have ended; wait for the first of them, at most about `seconds` where there is none.

        Raises:
            PretaskError: no trial can be made there as things are.
        """

    @abstractmethod
    def stop(self) -> None:
        """Let running trials save and end, drop the others, and return when all is quiet."""


EXECUTORS: Registry[type[Executor]] = Registry("executor", "pretask.studies.executors")
"""Executors by name; `@EXECUTORS.register("name")` adds one."""


def create_executor(execution: Execution, device: str) -> Executor:
    """Return the executor that is asked for; nothing is started yet.

    Raises:
        PretaskError: an unknown name, numbers out of range, settings that are for another executor.
    """
    execution.check()
    kind = EXECUTORS.get(execution.executor)
    for field in kind.foreign:
        if getattr(execution, field) is not None:
            others = [name for name in EXECUTORS.names() if field not in EXECUTORS.get(name).foreign]
            raise PretaskError(
                f"--{field.replace('_', '-')} means nothing to --executor {execution.executor}: "
                f"drop it, or type --executor {' or '.join(others)}"
            )
    return kind(execution, device)
