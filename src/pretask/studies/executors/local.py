"""Trials on this machine: one after another in this process, or several at a time in processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import ClassVar

from pretask.studies.execution import Execution
from pretask.studies.executors import EXECUTORS, Executor
from pretask.studies.trials import Answer, Trial, make
from pretask.training.device import available_threads


@EXECUTORS.register("local")
class LocalExecutor(Executor):
    """Processes on this machine; see `Executor`. One makes a trial after another, and is replaced if it dies."""

    foreign: ClassVar[tuple[str, ...]] = ("gpus_per_trial", "ray_address")

    def __init__(self, execution: Execution, device: str) -> None:
        super().__init__(execution, device)
        self._jobs = execution.jobs or 1
        self.in_process = self._jobs == 1
        self._here: Trial | None = None
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Trial]] = {}

    @property
    def threads(self) -> int | None:
        if self.execution.cpus_per_trial is not None:
            return max(1, int(self.execution.cpus_per_trial))
        # Threads that wait for a core spin: each trial leaves room for the others.
        return None if self._jobs == 1 else max(1, available_threads() // self._jobs)

    @property
    def slots(self) -> int | None:
        return self._jobs

    def start(self, folder: Path) -> str | None:
        return None

    def submit(self, trial: Trial) -> None:
        if self.in_process:
            self._here = trial
            return
        worker = self._idle.pop() if self._idle else _Worker()
        worker.pipe.send(trial)
        self._busy[worker.pipe] = worker, trial

    def wait(self, seconds: float) -> Sequence[tuple[Trial, Answer]]:
        if self._here is not None:
            trial, self._here = self._here, None
            return [(trial, make(trial))]
        ended = []
        for pipe in wait(list(self._busy), seconds):
            assert isinstance(pipe, Connection)
            worker, trial = self._busy.pop(pipe)
            answer = worker.answer()
            if answer.kind != "died":
                self._idle.append(worker)
            ended.append((trial, answer))
        return ended

    def stop(self) -> None:
        workers = [*self._idle, *(worker for worker, _ in self._busy.values())]
        for worker, _ in self._busy.values():
            worker.end_trial()
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.process.join()
        self._idle, self._busy = [], {}


class _Worker:
    """A process that makes the trials that come through its pipe, until the pipe closes."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        self.process.start()
        theirs.close()

    def answer(self) -> Answer:
        """Return what came of the trial."""
        try:
            answer: Answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            return Answer("died", f"signal {-code}" if code < 0 else f"exit code {code}")
        return answer

    def end_trial(self) -> None:
        """Let the trial save and end, as it does when Ctrl-C reaches it by the terminal."""
        if self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)


def _serve(pipe: Connection) -> None:
    _stop_with_parent()
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            trial = pipe.recv()
            try:
                answer = make(trial)
            except KeyboardInterrupt:
                answer = Answer("stopped")
            pipe.send(answer)


def _stop_with_parent() -> None:
    """In a worker: stop as on SIGTERM, with a checkpoint, when the process that runs the study is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
