"""What a study does with its trials: order, faults, deaths, other processes, an end at once."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from rich.console import Console
from toy_trials import Toy, begun, local, log_lines

from forked import Forked
from pretask.errors import Interrupted, PretaskError
from pretask.studies.execute import execute
from pretask.studies.execution import Execution
from pretask.studies.executors import Executor
from pretask.studies.trials import Answer, make


@pytest.fixture
def said():
    """A console that is no terminal, and what was printed there."""
    return Console(width=200, record=True, file=io.StringIO())


class Scripted(Executor):
    """Answers as it is told, one trial at a time; `make` otherwise."""

    threads = slots = None

    def __init__(self, script=None, retries=3):
        super().__init__(Execution(retries=retries), "cpu")
        self.script, self.taken, self.stopped, self.seen = dict(script or {}), [], False, []

    def start(self, folder):
        return "starts"

    def submit(self, trial):
        self.taken.append(trial)
        self.seen.append(trial.name)

    def wait(self, seconds):
        trial = self.taken.pop(0)
        answers = self.script.get(trial.name)
        answer = answers.pop(0) if answers else make(trial)
        if isinstance(answer, Exception):
            raise answer
        return [(trial, answer)]

    def stop(self):
        self.stopped = True


def toys(folder, *names, **options):
    return [Toy(folder, name, **options).trial() for name in names]


def test_trials_are_made_in_order_and_finished_ones_are_left_alone(tmp_path, said):
    Toy(tmp_path, "b").work()
    (tmp_path / "log").unlink()
    executor = Scripted()
    assert execute(toys(tmp_path, "a", "b", "c"), executor, tmp_path, said) == []
    assert executor.seen == ["a", "c"] and executor.stopped
    assert said.export_text().splitlines() == ["starts", "[2/3] a: well made", "[3/3] c: well made"]


def test_nothing_is_started_for_a_finished_study(tmp_path, said):
    Toy(tmp_path, "a").work()
    executor = Scripted()
    assert execute(toys(tmp_path, "a"), executor, tmp_path, said) == []
    assert not executor.stopped and said.export_text() == ""


def test_a_fault_of_one_leaves_the_others_their_chance(tmp_path, said):
    trials = [
        Toy(tmp_path, "a", fault=PretaskError("no luck")).trial(),
        Toy(tmp_path, "b", fault=ZeroDivisionError("by zero")).trial(),
        *toys(tmp_path, "c"),
    ]
    failures = execute(trials, local(), tmp_path, said)
    assert failures == ["a: no luck", "b: ZeroDivisionError: by zero"]
    assert "[1/3] a failed: no luck" in said.export_text() and (tmp_path / "c/results").is_file()


def test_a_trial_whose_process_dies_is_taken_up_again_until_retries_are_used_up(tmp_path, said):
    died = Answer("died", "signal 9")
    executor = Scripted({"a": [died, died], "b": [died] * 3}, retries=2)
    failures = execute(toys(tmp_path, "a", "b"), executor, tmp_path, said)
    assert executor.seen.count("a") == executor.seen.count("b") == 3
    (failure,) = failures
    assert failure.startswith("b: its process died 3 times (signal 9)")
    told = said.export_text()
    assert "a: its process died (signal 9); it resumes from its checkpoint (1 of 2)" in told
    assert "a: well made" in told


def test_a_trial_that_another_process_is_at_comes_last(tmp_path, said, monkeypatch):
    monkeypatch.setattr("pretask.studies.execute._SECONDS_UNTIL_ASKED_AGAIN", 0.0)
    executor = Scripted({"a": [Answer("busy"), Answer("busy")]})
    assert execute(toys(tmp_path, "a", "b"), executor, tmp_path, said) == []
    assert executor.seen[0] == "a" and executor.seen[-1] == "a" and executor.seen.count("a") == 3
    assert said.export_text().count("another process makes trials of this study") == 1


def test_a_trial_that_another_process_finishes_is_not_made_again(tmp_path, said):
    class Elsewhere(Scripted):
        def wait(self, seconds):
            Toy(tmp_path, "a").work()
            return super().wait(seconds)

    executor = Elsewhere({"a": [Answer("busy")]})
    assert execute(toys(tmp_path, "a"), executor, tmp_path, said) == []
    assert executor.seen == ["a"] and len(begun(tmp_path, "a")) == 1
    assert "[1/1] a: made by another process" in said.export_text()


def test_the_user_stops_a_study(tmp_path, said):
    executor = Scripted({"a": [Answer("stopped", "after step 3")]})
    with pytest.raises(Interrupted, match="after step 3"):
        execute(toys(tmp_path, "a", "b"), executor, tmp_path, said)
    assert executor.stopped and executor.seen == ["a", "b"] and not (tmp_path / "b").exists()


def test_a_place_where_no_trial_can_be_made_ends_the_study(tmp_path, said):
    executor = Scripted({"a": [PretaskError("no such place")]})
    with pytest.raises(PretaskError, match="no such place"):
        execute(toys(tmp_path, "a"), executor, tmp_path, said)
    assert executor.stopped


def test_sigterm_stops_a_study_as_ctrl_c_does(tmp_path, said):
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Interrupted, match="the same command resumes it"):
        execute(toys(tmp_path, "a", seconds=20), local(), tmp_path, said)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path, said):
    (tmp_path / "file").touch()
    with pytest.raises(PretaskError, match=r"cannot make .*give another --runs folder"):
        execute(toys(tmp_path, "a"), local(), tmp_path / "file" / "study", said)


def test_processes_of_this_machine_are_replaced_when_they_die(tmp_path, said):
    """Two at a time: one kills its process twice, the others do not notice."""
    trials = [Toy(tmp_path, "a", deaths=2).trial(), *toys(tmp_path, "b", "c")]
    assert execute(trials, local(jobs=2), tmp_path, said) == []
    assert len(set(begun(tmp_path, "a"))) == 3
    assert [len(begun(tmp_path, name)) for name in "bc"] == [1, 1]
    assert said.export_text().count("its process died (signal 9)") == 2


def invocation(folder: Path, seconds: float, begin: Event) -> None:
    """Make the trials of a study when it is time."""
    trials = [Toy(folder, f"trial{i}", seconds=seconds).trial() for i in range(6)]
    begin.wait()
    print(execute(trials, local(), folder, None))


def invoke(folder: Path, name: str, seconds: float) -> tuple[Forked, Event]:
    """Start an invocation of a study, which begins when its event is set."""
    begin = get_context("fork").Event()
    return Forked(folder / "streams" / name, invocation, folder, seconds, begin), begin


def test_two_invocations_at_once_make_each_trial_once_and_share_the_work(tmp_path):
    both = [invoke(tmp_path, name, 0.2) for name in "ab"]
    for _, begin in both:
        begin.set()
    both = [process for process, _ in both]
    assert [process.communicate(timeout=100)[0] for process in both] == ["[]\n", "[]\n"]
    makers = [begun(tmp_path, f"trial{i}") for i in range(6)]
    assert all(len(made) == 1 for made in makers)
    assert {made[0] for made in makers} == {str(process.pid) for process in both}


def test_what_a_killed_invocation_was_at_is_taken_up_by_the_other(tmp_path):
    (killed, begin), (other, begin_too) = (invoke(tmp_path, name, 0.4) for name in "ab")
    begin.set()
    while not begun(tmp_path, "trial0"):
        time.sleep(0.01)
    begin_too.set()
    while not begun(tmp_path, "trial1"):
        time.sleep(0.01)
    at_work = log_lines(tmp_path)[-1]
    killed.kill()
    killed.communicate(timeout=100)
    assert other.communicate(timeout=100)[0] == "[]\n"
    ended = [line.split()[0] for line in log_lines(tmp_path) if line.endswith("ends")]
    assert sorted(ended) == [f"trial{i}" for i in range(6)], at_work
    assert all((tmp_path / f"trial{i}/results").is_file() for i in range(6))
