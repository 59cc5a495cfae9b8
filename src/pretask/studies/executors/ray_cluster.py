"""Trials on the machines of a Ray cluster, which is started here for the study or joined by its address."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pretask.data.parallel import usable_cpus
from pretask.errors import PretaskError, import_extra
from pretask.io.files import unwritable
from pretask.io.signals import sigterm_kept
from pretask.studies.execution import Execution
from pretask.studies.executors import EXECUTORS, Executor
from pretask.studies.trials import Answer, Trial, make
from pretask.training.run_folder import versions

_SECONDS_TO_SAVE = 120.0
_WITH_TOKEN = (2, 59)
"""The first version whose own clusters ask for a token; the ports of all of them listen to the whole network."""
_SMALLEST_STORE = 80 * 2**20  # bytes; Ray's objects are not used, and by default take a third of the memory


@EXECUTORS.register("ray")
class RayExecutor(Executor):
    """A Ray task for each trial; see `Executor`. Ray decides where; everything else goes through the study's folder."""

    foreign: ClassVar[tuple[str, ...]] = ()

    def __init__(self, execution: Execution, device: str) -> None:
        super().__init__(execution, device)
        self._ray = import_extra("ray", "ray", "--executor ray")
        self._cpus = 1.0 if execution.cpus_per_trial is None else execution.cpus_per_trial
        self._gpus = 0.0
        self._tasks: dict[Any, Trial] = {}
        self._closing = ExitStack()

    @property
    def threads(self) -> int | None:
        return max(1, int(self._cpus))

    @property
    def slots(self) -> int | None:
        return self.execution.jobs

    def start(self, folder: Path) -> str | None:
        if not self._ray.is_initialized():
            self._connect()
            self._closing.callback(self._ray.shutdown)
        mark = self._closing.enter_context(_mark(folder))
        self._place = _Place(Path.cwd(), mark, tuple(sys.argv), versions())
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        asked = self.execution.gpus_per_trial
        if asked is None:
            asked = float(self.device != "cpu" and any(machine.get("GPU") for machine in machines))
        self._gpus = asked
        return self._describe(machines)

    def submit(self, trial: Trial) -> None:
        task = self._ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0, name=trial.name)
        self._tasks[task(_work).remote(trial, self._place)] = trial

    def wait(self, seconds: float) -> Sequence[tuple[Trial, Answer]]:
        ended, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        return [(self._tasks.pop(task), self._answer(task)) for task in ended]

    def stop(self) -> None:
        with self._closing:
            for task in self._tasks:
                self._ray.cancel(task)  # reaches a trial that runs as Ctrl-C does: it saves and ends
            if self._tasks:
                self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=_SECONDS_TO_SAVE)
            self._tasks = {}

    def _answer(self, task: Any) -> Answer:
        errors = self._ray.exceptions
        try:
            answer: Answer = self._ray.get(task)
        except errors.RayTaskError as fault:  # not of the trial, whose faults are answers
            if isinstance(fault.cause, PretaskError):
                raise fault.cause from None
            raise PretaskError(
                f"a machine of the Ray cluster cannot make trials ({_first_line(fault.cause)}): install the same "
                "pretask on all of them"
            ) from None
        except errors.OutOfMemoryError:
            return Answer("died", "its machine was out of memory")
        except errors.NodeDiedError:
            return Answer("died", "its machine left the cluster")
        except errors.RayError as death:
            return Answer("died", type(death).__name__)
        if answer.kind == "stopped":  # by its machine, which shuts down: the user stops a study here
            return Answer("died", "its machine asked it to end")
        return answer

    def _connect(self) -> None:
        """Start Ray on this machine, or join the cluster at the address that was given; both quietly."""
        address = self.execution.ray_address
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            _require_token(self._ray.__version__)
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            options |= {"num_cpus": usable_cpus(), "include_dashboard": False}
            options |= {"object_store_memory": _SMALLEST_STORE}
        try:
            with sigterm_kept():  # Ray's own handler would end the study without saving
                self._ray.init(address=address or "local", **options)
        except (ImportError, OSError, RuntimeError, ValueError) as fault:
            what = "start Ray on this machine" if address is None else f"join a Ray cluster at {address}"
            raise PretaskError(
                f"cannot {what} ({_first_line(fault)}): give the --ray-address of one that `ray start --head` started"
            ) from None

    def _describe(self, machines: Sequence[dict[str, float]]) -> str:
        """Return what the cluster has and what a trial takes of it.

        Raises:
            PretaskError: no machine has room for a trial, and none can join.
        """
        takes = _amounts(self._cpus, self._gpus)
        room = [m for m in machines if m.get("CPU", 0) >= self._cpus and m.get("GPU", 0) >= self._gpus]
        has = _amounts(sum(m.get("CPU", 0) for m in machines), sum(m.get("GPU", 0) for m in machines))
        if not room and self.execution.ray_address is None:
            raise PretaskError(
                f"a trial takes {takes} and this machine has {has}: type smaller --cpus-per-trial and "
                "--gpus-per-trial, or join a cluster with --ray-address"
            )
        waits = "" if room else "; no machine has room for one yet: waiting for one to join"
        return f"Ray: {len(machines)} machine{'s' * (len(machines) != 1)} with {has}; a trial takes {takes}{waits}"


def _require_token(version: str) -> None:
    """Refuse to start what runs the code of anybody who reaches this machine.

    Raises:
        PretaskError: an old Ray, where the user has not said that it shall ask for a token, or need not.
    """
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < _WITH_TOKEN and "RAY_AUTH_MODE" not in os.environ:
        raise PretaskError(
            f"a cluster of Ray {version} runs the code of anybody on the network: type "
            "`pip install --upgrade 'pretask[ray]'`, or RAY_AUTH_MODE=token before the command"
        )


@dataclass(frozen=True)
class _Place:
    """What a trial finds around it, wherever it is made.

    Attributes:
        folder: in which the command was typed, to which relative paths belong.
        mark: a file in the study's folder, which only storage that is shared has on all machines.
        arguments: of the command, which runs record in their results.
        versions: of the packages that decide results.
    """

    folder: Path
    mark: Path
    arguments: tuple[str, ...]
    versions: dict[str, str]

    def take(self) -> None:
        """Go there.

        Raises:
            PretaskError: this machine does not see the folders, or has other packages.
        """
        machine = socket.gethostname()
        for path in (self.folder, self.mark):
            if not path.exists():
                missing = self.folder if path == self.folder else self.mark.parent
                raise PretaskError(
                    f"{machine} cannot see {missing}: work in a folder, and give a --runs folder, on storage that all "
                    "machines of the cluster share"
                )
        for package, version in versions().items():
            if version != self.versions[package]:
                raise PretaskError(
                    f"{machine} has {package} {version}, that of the command {self.versions[package]}: "
                    "install the same on all machines of the cluster"
                )
        os.chdir(self.folder)
        sys.argv = list(self.arguments)


def _work(trial: Trial, place: _Place) -> Answer:
    """Make a trial on a machine of the cluster."""
    if not import_extra("ray", "ray", "--executor ray").get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves all GPUs in sight of a task that was given none
    place.take()
    return make(trial)


@contextmanager
def _mark(folder: Path) -> Iterator[Path]:
    """Put a file into a study's folder, by which other machines know that they see it.

    Raises:
        PretaskError: the folder cannot be written.
    """
    try:
        mark = tempfile.NamedTemporaryFile(dir=folder.resolve(), prefix=".seen-by-all-")  # noqa: SIM115
    except OSError as fault:
        raise unwritable(folder, fault) from fault
    with mark:
        yield Path(mark.name)


def _amounts(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'s' * (cpus != 1)}" + (f" and {gpus:g} GPU{'s' * (gpus != 1)}" if gpus else "")


def _first_line(fault: BaseException) -> str:
    return str(fault).strip().split("\n", 1)[0].rstrip(". ") or type(fault).__name__
