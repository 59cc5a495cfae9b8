"""One folder has one owner: who trains there, with which settings, and under what name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import CommandLine, picture_folder, results_of, tiny, untrained_run
from forked import Forked, forked_command
from pretask import tasks
from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.errors import PretaskError
from pretask.export import export_model
from pretask.io import files
from pretask.io.locks import held
from pretask.tasks import run as one_run
from pretask.training import loop
from pretask.training.run_folder import RunFolder, folder_name


@pytest.fixture
def pretask(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("train", []),
        ("pretrain", ["--method", "simclr", "--batch-size", "10", "--warmup-epochs", "0"]),
        ("few-shot", ["--ways", "2", "--queries", "2", "--episodes", "2", "--test-episodes", "4"]),
    ],
)
def test_a_folder_where_another_process_trains_is_refused(
    pretask: CommandLine, tmp_path: Path, command: str, more: list[str]
) -> None:
    words = [
        "--data",
        "digits",
        "--backbone",
        "resnet8",
        "--epochs",
        "1",
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    with held(tmp_path / "mine/.lock"):
        pretask(command, *words, *more, "--runs", tmp_path, "--name", "mine").fault(
            f"mine is being trained by process {os.getpid()} on ", "another --name"
        )
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {".lock"}


def test_two_trainings_of_one_name_that_start_at_once(tmp_path: Path) -> None:
    """The other settings are refused in one line; the run is that of the first."""
    made = [
        forked_command(
            tmp_path / f"streams{lr}", ["train", *tiny(lr=lr, epochs=3, runs=tmp_path, name="one")]
        )
        for lr in (0.1, 0.2)
    ]
    ends = [(process.communicate(timeout=200), process.returncode) for process in made]
    assert sorted(code for _, code in ends) == [0, 2]
    for (_, errors), code in ends:
        if code:
            assert errors.count("\n") == 1
            assert "is being trained by process" in errors or "was started with lr" in errors
    assert RunFolder(tmp_path / "one").finished


def _die(config: RunConfig) -> None:
    loop.set_lr = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    tasks.train(config)


def test_a_run_has_begun_before_its_first_checkpoint(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure(epochs=1)
    process = Forked(tmp_path / "streams", _die, config)
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    run = RunFolder(tmp_path / "run")
    assert run.begun and not run.checkpoints.exist
    with pytest.raises(PretaskError, match=r"was started with lr = 0.1, now lr = 0.2 is asked"):
        tasks.train(override(config, lr=0.2))
    assert tasks.train(config)["epochs"] == 1


def test_a_training_that_failed_before_its_first_checkpoint_takes_other_settings(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """As its error advises."""
    with pytest.raises(PretaskError, match="type a smaller --lr"):
        tasks.train(configure(lr=1e30, epochs=1))
    assert tasks.train(configure(epochs=1))["epochs"] == 1


def test_a_folder_is_free_again_after_a_fault(
    configure: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(one_run, "_end", fail)
        tasks.train(configure(epochs=1))
    assert tasks.train(configure(epochs=1))["epochs"] == 1


def _die_as_it_writes(run: Path, to: Path) -> None:
    files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    export_model(run, to)


def test_a_killed_export_can_be_typed_again(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "run")
    process = Forked(tmp_path / "streams", _die_as_it_writes, run, tmp_path / "to")
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    assert any(path.name.endswith(".tmp") for path in (tmp_path / "to").iterdir())
    export_model(run, tmp_path / "to")
    assert {path.name for path in (tmp_path / "to").iterdir()} == {
        "model.safetensors",
        "model.json",
        "README.md",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("caf\udce9", "no text"),
        ("a\nb", "no text"),
        ("a\x1b[31mb", "no text"),
        ("x" * 201, "201 bytes, more than 200"),
        ("ö" * 101, "202 bytes, more than 200"),
        ("a/b", "not the name of one folder"),
    ],
)
def test_a_name_that_cannot_be_written_is_refused_before_the_training(
    pretask: CommandLine, tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(PretaskError, match=words) as refused:
        folder_name(name, "")
    assert "\n" not in str(refused.value)
    pretask("train", *tiny(runs=tmp_path / "runs", name=name)).fault(words)
    assert not (tmp_path / "runs").exists()


def test_a_data_set_whose_name_is_no_text_is_refused(pretask: CommandLine, tmp_path: Path) -> None:
    for name in ("caf\udce9", "a\nb"):
        pictures = picture_folder(tmp_path / name)
        pretask("train", *tiny(data=pictures, per_class=None, runs=tmp_path / "runs")).fault("rename it")
    assert not (tmp_path / "runs").exists()


def test_names_full_of_markup_are_names(pretask: CommandLine, tmp_path: Path) -> None:
    pictures = picture_folder(tmp_path / "[bold]$_{<b>", classes=("[red]", "a$b$"), count=6)
    picture = pictures / "[red]/00.png"
    picture.rename(picture.with_name("caf\udce9.png"))
    run = tmp_path / "[/bold] <i>$x_{$"
    out = pretask.well(
        "train",
        *tiny(data=pictures, per_class=None, batch_size=8, method="baseline", runs=run.parent, name=run.name),
    )
    assert "[/bold] <i>$x_{$" in out
    page = (run / "report.html").read_text()
    assert "<i>$x" not in page and "&lt;i&gt;$x_{$" in page
    pretask.well(
        "explain", run, "--parts", "examples", "tsne", "--points", 8, "--device", "cpu", "--split", "train"
    )


def test_folders_of_runs_and_exports_among_the_photos_are_left_out(
    pretask: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where one stands in the folder of photos and types `--data .`"""
    photos = picture_folder(tmp_path / "photos", count=6)
    monkeypatch.chdir(photos)
    flags = tiny(data=".", per_class=None, batch_size=8, method="baseline", name="first")
    assert "left out" not in pretask.well("train", *flags)
    pretask.well("explain", "runs/first", "--parts", "examples", "--device", "cpu")
    pretask.well("export", "runs/first", "mine")
    assert "has changed" not in pretask.well("evaluate", "runs/first", "--device", "cpu")
    out = pretask.well(
        "train", *tiny(data=".", per_class=None, batch_size=8, method="baseline", name="second")
    )
    assert "note      left out 2 folders that hold a run, a study or an export, the first of them mine" in out
    assert results_of("runs/second")["data"]["class_names"] == ["cat", "dog"]
