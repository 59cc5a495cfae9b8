"""Runs the cells of a study, one after another or several at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing.connection import wait

import torch
from rich.console import Console

from pretask import experiment
from pretask.data import ImageData
from pretask.errors import Interrupted, PretaskError
from pretask.training.config import RunConfig
from pretask.training.config_files import override
from pretask.training.run_folder import RunFolder


def execute(
    configs: Sequence[RunConfig],
    folders: Sequence[RunFolder],
    jobs: int,
    console: Console | None,
    data: ImageData | None,
) -> list[str]:
    """Make every run that has no results yet.

    Args:
        configs: of the runs; several at a time share the processor's threads evenly where they name no number.
        folders: where each goes; finished ones are skipped.
        jobs: runs at a time, each in its own process.
        console: for a line per finished run.
        data: unsplit data at hand, for one job only.

    Returns:
        one line for each run that failed; the others are complete.

    Raises:
        Interrupted: the user stopped the study.
        PretaskError: fewer than one job, or data at hand with several.
    """
    if jobs < 1 or (jobs > 1 and data is not None):
        raise PretaskError(f"--jobs {jobs} is not possible here: type --jobs 1")
    todo = [config for config, folder in zip(configs, folders, strict=True) if not folder.finished]
    progress = _Count(len(todo), len(configs), console)
    if jobs == 1:
        return _one_by_one(todo, progress, data)
    return _side_by_side(todo, jobs, progress)


def _one_by_one(todo: Sequence[RunConfig], progress: _Count, data: ImageData | None) -> list[str]:
    outcomes = ((config.session.name, partial(experiment.train, config, data)) for config in todo)
    return _gather(outcomes, progress)


def _side_by_side(todo: Sequence[RunConfig], jobs: int, progress: _Count) -> list[str]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_stop_with_parent) as pool:
        futures = {
            pool.submit(_train_in_worker, share_threads(config, jobs)): config.session.name for config in todo
        }
        try:
            return _gather(((futures[f], f.result) for f in as_completed(futures)), progress)
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, Interrupted | KeyboardInterrupt):
                raise Interrupted("the study was stopped; the same command goes on from there") from None
            raise


def share_threads(config: RunConfig, jobs: int) -> RunConfig:
    """Return a configuration whose run leaves room for `jobs - 1` others: threads that wait for a core spin."""
    if config.session.threads is not None:
        return config
    return override(config, threads=max(1, torch.get_num_threads() // jobs))


def _gather(
    outcomes: Iterable[tuple[str | None, Callable[[], dict[str, object]]]], progress: _Count
) -> list[str]:
    """Tell each run's outcome as it comes; return the failures. Only the user stops a study."""
    failures = []
    for name, outcome in outcomes:
        try:
            progress.tell(f"{name}: {_line(outcome())}")
        except Interrupted:
            raise
        except Exception as error:  # a defect or a lack of memory in one run leaves the others their chance
            reason = str(error) if isinstance(error, PretaskError) else f"{type(error).__name__}: {error}"
            failures.append(f"{name}: {reason}")
            progress.tell(f"{name} failed: {reason}")
    return failures


def _stop_with_parent() -> None:
    """In a worker: stop as on SIGTERM, with a checkpoint, when the process that runs the study is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


_stopped = False  # in a worker: the user has stopped the study


def _train_in_worker(config: RunConfig) -> dict[str, object]:
    """Train, unless a run of this worker was stopped before: the pool hands out runs ahead of time."""
    global _stopped
    if _stopped:
        raise Interrupted("not started")
    try:
        return experiment.train(config)
    except Interrupted:
        _stopped = True
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(130)  # nobody is left to hear of it, or to end the wait for a next run
        raise


class _Count:
    """Numbers the lines of finished runs."""

    def __init__(self, todo: int, total: int, console: Console | None) -> None:
        self._done, self._total, self._console = total - todo, total, console

    def tell(self, line: str) -> None:
        self._done += 1
        if self._console is not None:
            self._console.print(
                f"[{self._done}/{self._total}] {line}", highlight=False, markup=False, soft_wrap=True
            )


def _line(results: dict[str, object]) -> str:
    inferences = results["inferences"]
    assert isinstance(inferences, dict)
    scores = ", ".join(
        f"{name} {100 * figures['selected']['test']['top1']:.2f} %" for name, figures in inferences.items()
    )
    return f"test {scores} ({results['seconds']:.0f} s)"
