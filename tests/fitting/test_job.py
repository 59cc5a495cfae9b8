"""The whole job on real pictures: it keeps to its time, resumes after a kill, and says what was worth what."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from command_line import picture_folder, results_of
from forked import Forked
from pretask import fit, predict
from pretask.cli.main import main
from pretask.config.files import from_flat
from pretask.errors import PretaskError
from pretask.io.documents import read_json_object


def small(folder: Path, **more) -> dict:
    return from_flat({"runs": str(folder), "device": "cpu", "threads": 1, "backbone": "resnet8", **more})


def short_trials(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("pretask.fitting.plan.SHORTEST", 0.3)
    patch.setattr("pretask.fitting.plan.LEAST_EPOCHS", 1)
    patch.setattr("pretask.fitting.plan.GOOD_EPOCHS", 2)
    patch.setattr("pretask.fitting.job._SET_UP_SECONDS", 0.1)
    patch.setattr("pretask.fitting.job._END_SECONDS", 1.0)


def still_clock(patch: pytest.MonkeyPatch) -> None:
    """Let no time pass for the plan, and trainings cost what they cost on an idle machine, however busy this one is."""
    patch.setattr("pretask.fitting.state.State.spent", property(lambda self: self.before))
    patch.setattr("pretask.fitting.trainings.seconds_per_image", lambda task, trainee: 1e-5)


def test_a_job_makes_a_model_and_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_trials(monkeypatch)
    still_clock(monkeypatch)
    found = fit("digits", 12, config=small(tmp_path), methods=("baseline", "sla-fast"))
    folder = Path(found["folder"])
    limit = found["final"]["seconds"]
    assert results_of(folder)["seconds"] <= 2 * limit  # the clock ends it, after a whole step
    assert found["test"]["top1"] > 0.3  # however little a busy machine does in the time
    assert found["test"]["low"] < found["test"]["top1"] < found["test"]["high"]
    page = (folder / "fit.html").read_text()
    assert "Race" in page
    assert "of plain training)" in page
    assert found["worth"]["words"] in page.replace("&#39;", "'")
    assert {entry["name"] for entry in found["test"]["worst"]} or found["test"]["top1"] == 1
    assert predict(folder, [tmp_path / "x.png"] if (tmp_path / "x.png").exists() else [_digit(tmp_path)])
    again = fit("digits", 12, config=small(tmp_path), methods=("baseline", "sla-fast"))
    assert again["test"] == found["test"]  # read, not made again


def _digit(folder: Path) -> Path:
    from PIL import Image

    path = folder / "digit.png"
    Image.new("L", (8, 8)).save(path)
    return path


@pytest.mark.parametrize("setting", [{"epochs": 3}, {"steps": 9}, {"selection": "last"}, {"max_seconds": 5}])
def test_what_the_time_decides_is_refused(tmp_path: Path, setting: dict) -> None:
    with pytest.raises(PretaskError, match=f"fit decides {next(iter(setting))} itself"):
        fit("digits", 12, config=small(tmp_path, **setting))


def test_another_time_for_the_same_job_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fit-digits").mkdir()
    fit("digits", 12, config=small(tmp_path), methods=("baseline",))
    with pytest.raises(PretaskError, match="was started with time = 12"):
        fit("digits", 60, config=small(tmp_path), methods=("baseline",))


@pytest.mark.parametrize(("classes", "count"), [(2, 1), (1_000, 2)])
def test_very_few_images_and_very_many_classes_end_well(tmp_path: Path, classes: int, count: int) -> None:
    names = tuple(f"class{i:04}" for i in range(classes))
    photos = picture_folder(tmp_path / "photos", names, count, size=(12, 12))
    found = fit(photos, 12, config=small(tmp_path / "runs"), methods=("baseline", "sla-fast"))
    assert (Path(found["folder"]) / "model.safetensors").is_file()
    assert (Path(found["folder"]) / "fit.html").is_file()
    assert ("top1" in found["test"]) == (count > 1)


def _quick(command: list[str]) -> None:
    """Run a command that races in trials of a fraction of a second."""
    with pytest.MonkeyPatch.context() as patch:
        short_trials(patch)
        still_clock(patch)
        main(command)


@pytest.mark.parametrize("phase", ["plan", "round0", "final"])
def test_a_job_that_is_killed_loses_no_phase(tmp_path: Path, phase: str) -> None:
    """Killed as soon as a phase is on disk; what follows is that of a job that goes on."""
    photos = picture_folder(tmp_path / "photos", count=12, size=(24, 24))
    command = [
        "fit", str(photos), "--time", "10s", "--runs", str(tmp_path / "runs"),
        "--backbone", "resnet8", "--threads", "1", "--device", "cpu", "--methods", "baseline", "sla-fast",
    ]  # fmt: skip
    state = tmp_path / "runs/fit-photos/fit.json"
    job = Forked(tmp_path / "first", _quick, command)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and job.poll() is None:
        if state.is_file() and phase in json.loads(state.read_text()):
            break
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.communicate(60)
    before = read_json_object(state, "")
    again = Forked(tmp_path / "second", _quick, command)
    _, errors = again.communicate(200)
    assert again.returncode == 0, errors
    after = read_json_object(state, "")
    for key in before:
        if key not in ("spent", "checksum", "sha256"):
            assert after[key] == before[key], key
    assert after["plan"]["rounds"]
    assert "test" in after["trust"]


def test_a_time_too_short_for_a_race_goes_into_one_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fit(
        "digits", 12, config=small(tmp_path), methods=("baseline", "sla-fast"), console=Console(width=200)
    )
    assert found["rounds"] == []
    assert found["winner"].endswith(", baseline")
    assert "not compared" in found["worth"]["words"]
    assert "too short to compare ways of learning, which would take" in capsys.readouterr().out


def test_as_many_threads_are_taken_as_are_quickest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretask.fitting.job.available_threads", lambda: 4)
    # As on a machine whose other CPUs have other work.
    monkeypatch.setattr(
        "pretask.fitting.trainings.seconds_per_image",
        lambda task, trainee: {4: 2e-3, 2: 1e-3, 1: 1.5e-3}[torch.get_num_threads()],
    )
    before = torch.get_num_threads()
    found = fit("digits", 10, config=small(tmp_path / "open", threads=None), methods=("baseline",))
    assert set(found["plan"]["threads"].values()) == {2}
    assert set(found["plan"]["costs"].values()) == {1e-3}
    settings = (Path(found["folder"]) / "config.yaml").read_text()
    assert "threads: 2\n" in settings
    assert torch.get_num_threads() == before
    asked = fit("digits", 10, config=small(tmp_path / "asked"), methods=("baseline",))
    assert set(asked["plan"]["threads"].values()) == {None}
    assert "threads: 1\n" in (Path(asked["folder"]) / "config.yaml").read_text()


def test_where_validation_images_are_few_of_all_they_calibrate_the_model(tmp_path: Path) -> None:
    found = fit("digits", 10, config=small(tmp_path, validation=0.11), methods=("baseline",))
    assert found["final"]["learn_from"] == "train"
    card = read_json_object(Path(found["folder"]) / "model.json", "")
    assert len(card["inferences"]["single"]["doubts"]) >= 50
    assert "set" in predict(found["folder"], [_digit(tmp_path)], coverage=0.9)[0]
    every = fit("digits", 10, config=small(tmp_path / "all", validation=0.2), methods=("baseline",))
    assert every["final"]["learn_from"] == "all"
