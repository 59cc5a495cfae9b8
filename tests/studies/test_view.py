"""What is shown of trials that are under way, from their files alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from toy_trials import Toy

from pretask.config.files import from_flat, save_config
from pretask.studies.trials import Trial
from pretask.studies.view import StudyView


def trial(folder: Path, name: str, *parts: str) -> Trial:
    toy = Toy(folder, name).trial()
    return Trial(
        name, toy.lock, toy.results, toy.work, (folder / name, *(folder / f"{name}-{p}" for p in parts))
    )


def under_way(folder: Path, *records: dict, **settings) -> None:
    """Write what a run has written so far."""
    folder.mkdir(parents=True)
    save_config(from_flat({"method": "baseline", **settings}), folder / "config.yaml")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def record(epoch: int, **more) -> dict:
    return {"epoch": epoch, "step": 10 * epoch, "train": {"loss": 1 / epoch}, **more}


def lock(trial: Trial) -> None:
    trial.lock.parent.mkdir(exist_ok=True)
    trial.lock.touch()


def drawn(view: StudyView) -> list[str]:
    console = Console(width=120, file=io.StringIO())
    console.print(view._draw())
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_each_trial_tells_how_far_it_is(tmp_path):
    trials = [trial(tmp_path, name) for name in "abcd"]
    view = StudyView(None, trials, 2)
    assert drawn(view) == ["2 of 4 done, 0 under way, 4 waiting"]
    lock(trials[0])
    under_way(tmp_path / "b", record(4, validation={"single": {"top1": 0.5}}), epochs=30)
    under_way(tmp_path / "c", record(2), steps=400)
    assert drawn(view) == [
        "a begins",
        "b 4 of 30 epochs loss 0.250 validation 50.0 %",
        "c 20 of 400 steps loss 0.500",
        "2 of 4 done, 3 under way, 1 waiting",
    ]


def test_the_latest_run_of_a_trial_is_shown(tmp_path):
    one = trial(tmp_path, "a", "tuned-0.1", "tuned-0.5")
    view = StudyView(None, [one], 0)
    under_way(tmp_path / "a", record(9), epochs=9)
    under_way(tmp_path / "a-tuned-0.1", epochs=30)
    assert drawn(view)[0] == "a tuned-0.1 0 of 30 epochs"


def test_what_an_earlier_invocation_left_is_not_under_way(tmp_path):
    one = trial(tmp_path, "a")
    lock(one)
    under_way(tmp_path / "a", record(3), epochs=9)
    assert drawn(StudyView(None, [one], 0)) == ["0 of 1 done, 0 under way, 1 waiting"]


def test_long_lists_are_cut(tmp_path):
    trials = [trial(tmp_path, f"t{i}") for i in range(20)]
    view = StudyView(None, trials, 0)
    for one in trials:
        lock(one)
    assert len(drawn(view)) == 17
    assert drawn(view)[-1] == "0 of 20 done, 20 under way, 0 waiting (4 more than shown)"


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_stay_and_the_rest_is_drawn_in_a_terminal_only(tmp_path, terminal):
    trials = [trial(tmp_path, name) for name in "ab"]
    console = Console(width=100, file=io.StringIO(), force_terminal=terminal)
    with StudyView(console, trials, 0) as view:
        view.ended(trials[0], "well made")
        view.ended(trials[1], "no luck", failed=True)
    out = console.file.getvalue()
    assert "[1/2] a: well made" in out and "[2/2] b failed: no luck" in out
    assert ("waiting" in out) == terminal
