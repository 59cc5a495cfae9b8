"""Makes the trials of a study: hands them out, tries again what died, reports what came of each."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pretask.errors import Interrupted
from pretask.io.files import make_folder
from pretask.io.redaction import without_secrets
from pretask.io.signals import sigterm_as_ctrl_c
from pretask.studies.executors import Executor
from pretask.studies.trials import MADE_ELSEWHERE, Answer, Trial
from pretask.studies.view import StudyView

_TICK = 1.0
_SECONDS_UNTIL_ASKED_AGAIN = 2.0


def execute(trials: Sequence[Trial], executor: Executor, folder: Path, console: Console | None) -> list[str]:
    """Make every trial that is not finished.

    A trial that another process is at is left until that one has finished it, or is gone.

    Args:
        trials: see `Trial`.
        executor: where they are made.
        folder: the study's.
        console: for a line per finished trial, and in a terminal what the others are at.

    Returns:
        one line for each trial that failed; the others are complete.

    Raises:
        PretaskError: the folder cannot be made, or the executor has no place for trials.
        Interrupted: the user stopped the study.
    """
    todo = [trial for trial in trials if not trial.finished]
    if not todo:
        return []
    make_folder(folder, "another --runs folder")
    try:
        with sigterm_as_ctrl_c(), StudyView(console, trials, len(trials) - len(todo)) as view:
            try:
                view.say(executor.start(folder))
                return _Round(todo, executor, view).make_all()
            finally:
                executor.stop()
    except KeyboardInterrupt:
        raise Interrupted("the study was stopped; the same command resumes it") from None


class _Round:
    """All trials of a study, from the first that is handed out to the last that ends."""

    def __init__(self, trials: Sequence[Trial], executor: Executor, view: StudyView) -> None:
        self._executor, self._view = executor, view
        self._queue = deque((trial, 0.0) for trial in trials)
        self._running = 0
        self._deaths: Counter[str] = Counter()
        self._failures: list[str] = []
        self._reported_others = False

    def make_all(self) -> list[str]:
        """Return a line for each trial that failed."""
        while self._queue or self._running:
            self._hand_out()
            if not self._running:
                time.sleep(_TICK)  # what is left is being made elsewhere
                continue
            for trial, answer in self._executor.wait(_TICK):
                self._running -= 1
                self._take(trial, answer)
        return self._failures

    def _hand_out(self) -> None:
        """Fill the free slots with trials whose time has come."""
        for _ in range(len(self._queue)):
            if self._executor.slots is not None and self._running >= self._executor.slots:
                return
            trial, not_before = self._queue.popleft()
            if trial.finished:
                self._view.ended(trial, MADE_ELSEWHERE)
            elif time.monotonic() < not_before:
                self._queue.append((trial, not_before))
            else:
                self._executor.submit(trial)
                self._running += 1

    def _take(self, trial: Trial, answer: Answer) -> None:
        if answer.kind == "done":
            self._view.ended(trial, answer.words)
        elif answer.kind == "failed":
            self._fail(trial, answer.words)
        elif answer.kind == "stopped":
            raise Interrupted(answer.words) if answer.words else KeyboardInterrupt
        elif answer.kind == "busy":
            self._queue.append((trial, time.monotonic() + _SECONDS_UNTIL_ASKED_AGAIN))
            if not self._reported_others:
                self._view.say("another process makes trials of this study; theirs are left to it")
            self._reported_others = True
        else:
            self._take_death(trial, answer.words)

    def _take_death(self, trial: Trial, reason: str) -> None:
        self._deaths[trial.name] += 1
        deaths, retries = self._deaths[trial.name], self._executor.execution.retries
        if deaths > retries:
            times = "once" if deaths == 1 else f"{deaths} times"
            self._fail(
                trial, f"its process died {times} ({reason}), most often for want of memory: try fewer --jobs"
            )
        else:
            self._view.say(
                f"{trial.name}: its process died ({reason}); it resumes from its checkpoint ({deaths} of {retries})"
            )
            self._queue.appendleft((trial, 0.0))

    def _fail(self, trial: Trial, reason: str) -> None:
        shown = without_secrets(reason)
        self._failures.append(f"{trial.name}: {shown}")
        self._view.ended(trial, shown, failed=True)
