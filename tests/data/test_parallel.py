"""Work in threads: order, completeness and faults."""

from __future__ import annotations

import time

import pytest

from pretask.data.parallel import map_indices, progress


def test_results_come_in_order():
    def slow_at_first(i):
        time.sleep(0.002 if i < 64 else 0)
        return i * i

    assert list(map_indices(slow_at_first, range(300), "squares")) == [i * i for i in range(300)]
    assert list(map_indices(slow_at_first, [], "nothing")) == []


def test_a_fault_reaches_the_caller():
    def fails(i):
        if i == 70:
            raise ValueError("seventy")
        return i

    with pytest.raises(ValueError, match="seventy"):
        list(map_indices(fails, range(200), "faults"))


def test_an_early_stop_leaves_the_rest_undone():
    done = []
    for result in map_indices(lambda i: done.append(i) or i, range(100_000), "stopped"):
        if result == 10:
            break
    assert len(done) < 50_000


def test_progress_draws_nothing_outside_a_terminal(capsys):
    assert list(progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_progress_draws_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "letters" in err
