"""The lock of a trial: one owner, gone with its process however that ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import track
from toy_trials import Toy, begun

import pretask
from pretask.data.parallel import progress
from pretask.errors import Interrupted, PretaskError
from pretask.studies.trials import make


def test_a_trial_tells_of_its_results_and_its_lock_of_its_maker(tmp_path):
    answer = make(Toy(tmp_path, "a").trial())
    assert (answer.kind, answer.words) == ("done", "well made")
    assert (tmp_path / ".locks/a.lock").read_text() == f"{socket.gethostname()} {os.getpid()}\n"


def test_a_trial_that_was_finished_before_its_lock_was_free_is_not_made_again(tmp_path):
    """As where another process ends between this one's look at the results and its lock."""
    Toy(tmp_path, "a").work()
    answer = make(Toy(tmp_path, "a").trial())
    assert (answer.kind, answer.words) == ("done", "made by another process")
    assert len(begun(tmp_path, "a")) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (PretaskError("no luck"), "failed", "no luck"),
        (MemoryError("too big"), "failed", "MemoryError: too big"),
        (Interrupted("after step 3"), "stopped", "after step 3"),
    ],
)
def test_faults_are_answers(tmp_path, fault, kind, words):
    trial = Toy(tmp_path, "a", fault=fault).trial()
    for _ in range(2):  # the lock was given back
        answer = make(trial)
        assert (answer.kind, answer.words) == (kind, words)


OWNER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from toy_trials import Toy
from pretask.studies.trials import make

class WithAChild(Toy):
    def work(self):
        if os.fork() == 0:  # as worker processes of a loader are
            print(os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)

make(WithAChild(Path(sys.argv[2]), "a").trial())
"""


def test_the_lock_goes_with_its_owner_even_if_children_live_on(tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", OWNER, str(Path(__file__).parent), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(pretask.__path__[0]).parent)},
    )
    child = int(owner.stdout.readline())
    try:
        trial = Toy(tmp_path, "a").trial()
        assert make(trial).kind == "busy" and begun(tmp_path, "a") == []
        owner.kill()
        owner.wait()
        os.kill(child, 0)
        assert make(trial).kind == "done"
    finally:
        os.kill(child, 9)
        owner.stdout.close()


def test_storage_that_cannot_be_locked_is_told_in_one_line(tmp_path):
    (tmp_path / ".locks").touch()
    answer = make(Toy(tmp_path, "a").trial())
    assert answer.kind == "failed" and "\n" not in answer.words
    assert "give a --runs folder that can be written and locked" in answer.words


def test_trials_draw_no_bars(tmp_path, monkeypatch):
    """Several share the terminal, and the view of all of them is drawn there."""
    drawn = []
    monkeypatch.setattr("rich.console.Console.is_terminal", property(lambda self: True))
    monkeypatch.setattr("rich.progress.track", lambda steps, **options: drawn.append(options) or track([]))

    class Reading(Toy):
        def work(self):
            return str(list(progress([1, 2], 2, "reading")))

    assert make(Reading(tmp_path, "a").trial()).words == "[1, 2]" and drawn == []
    list(progress([1, 2], 2, "reading"))
    assert len(drawn) == 1
