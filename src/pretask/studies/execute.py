"""Runs the trials of a study, one after another or several at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from rich.console import Console

from pretask.errors import Interrupted, PretaskError
from pretask.redaction import without_secrets
from pretask.training.config_files import C, override
from pretask.training.device import available_threads


@dataclass(frozen=True)
class Trial:
    """One piece of work of a study, which leaves its results on disk and goes on from there when it is called again.

    Attributes:
        name: as messages tell it.
        finished: whether its results are there.
        work: makes them, and returns a line about them; it goes to another process where several run at a time.
    """

    name: str
    finished: bool
    work: Callable[[], str]


def execute(trials: Sequence[Trial], jobs: int, console: Console | None) -> list[str]:
    """Make every trial that is not finished.

    Args:
        trials: see `Trial`.
        jobs: trials at a time, each in its own process.
        console: for a line per finished trial.

    Returns:
        one line for each trial that failed; the others are complete.

    Raises:
        Interrupted: the user stopped the study.
    """
    todo = [trial for trial in trials if not trial.finished]
    progress = _Count(len(todo), len(trials), console)
    if jobs == 1:
        return _gather(((trial.name, trial.work) for trial in todo), progress)
    return _side_by_side(todo, jobs, progress)


def check_jobs(jobs: int, at_hand: bool) -> None:
    """Refuse a number of jobs that cannot be.

    Args:
        jobs: trials at a time.
        at_hand: whether data is given as objects, which stay in this process.

    Raises:
        PretaskError: fewer than one job, or several with data at hand.
    """
    if jobs < 1 or (jobs > 1 and at_hand):
        raise PretaskError(f"--jobs {jobs} is not possible here: type --jobs 1")


def _side_by_side(todo: Sequence[Trial], jobs: int, progress: _Count) -> list[str]:
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    with (
        closing(told),
        closing(tell),
        ProcessPoolExecutor(jobs, context, initializer=_stop_when_told, initargs=(told,)) as pool,
    ):
        futures = {pool.submit(_work_in_worker, trial.work): trial.name for trial in todo}
        try:
            return _gather(((futures[f], f.result) for f in as_completed(futures)), progress)
        except BaseException as error:
            tell.close()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, Interrupted | KeyboardInterrupt):
                raise Interrupted("the study was stopped; the same command goes on from there") from None
            raise


def share_threads(config: C, jobs: int) -> C:
    """Return a configuration whose run leaves room for `jobs - 1` others: threads that wait for a core spin."""
    if config.session.threads is not None:
        return config
    return override(config, threads=max(1, available_threads() // jobs))


def _gather(outcomes: Iterable[tuple[str, Callable[[], str]]], progress: _Count) -> list[str]:
    """Tell each trial's outcome as it comes; return the failures. Only the user stops a study."""
    failures = []
    for name, outcome in outcomes:
        try:
            progress.tell(f"{name}: {outcome()}")
        except Interrupted:
            raise
        except Exception as error:  # a defect or a lack of memory in one run leaves the others their chance
            reason = str(error) if isinstance(error, PretaskError) else f"{type(error).__name__}: {error}"
            told = without_secrets(reason)
            failures.append(f"{name}: {told}")
            progress.tell(f"{name} failed: {told}")
    return failures


def _stop_when_told(told: Connection) -> None:
    """In a worker: stop as on SIGTERM, with a checkpoint, when the other end of the pipe is closed.

    The process that runs the study holds that end: it closes it to stop its workers, and the system does when it is
    gone.
    """

    def watch() -> None:
        wait([told])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


_stopped = False  # in a worker: the user has stopped the study


def _work_in_worker(work: Callable[[], str]) -> str:
    """Work, unless a trial of this worker was stopped before: the pool hands out trials ahead of time."""
    global _stopped
    if _stopped:
        raise Interrupted("not started")
    try:
        return work()
    except Interrupted:
        _stopped = True
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(130)  # nobody is left to hear of it, or to end the wait for a next trial
        raise


class _Count:
    """Numbers the lines of finished trials."""

    def __init__(self, todo: int, total: int, console: Console | None) -> None:
        self._done, self._total, self._console = total - todo, total, console

    def tell(self, line: str) -> None:
        self._done += 1
        if self._console is not None:
            self._console.print(
                f"[{self._done}/{self._total}] {line}", highlight=False, markup=False, soft_wrap=True
            )
