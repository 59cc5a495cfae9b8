"""A study keeps to the images that it began with, or says why it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from command_line import CommandLine, flags, picture, picture_folder, results_of
from pretask.data.identity import Identity
from pretask.training.data import IMAGES

STUDY = {
    "backbone": "resnet8", "seeds": 1, "epochs": 1, "batch_size": 8, "lr": 0.1, "threads": 1, "device": "cpu",
    "precision": "fp32",
}  # fmt: skip


@pytest.fixture
def pretask(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def stopped(tmp_path: Path, pretask: CommandLine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a study of `photos`, in the test's own folder, which was stopped after its first method."""
    monkeypatch.chdir(tmp_path)
    picture_folder(tmp_path / "photos", count=8)
    command = ["compare", *flags({**STUDY, "data": "photos", "methods": ("baseline", "sla-fast")})]
    pretask.well(*command)
    shutil.rmtree("runs/compare-photos/sla-fast-epochs1-seed0")
    return command


def images_of(method: str) -> list[set[str]]:
    """Return the names of the train, validation and test images of a run of the study."""
    known = Identity.read(Path(f"runs/compare-photos/{method}-epochs1-seed0/split.safetensors"))
    return [set(known.parts[name].names) for name in ("train", "validation", "test") if name in known.parts]


def test_a_study_that_goes_on_uses_the_images_that_it_began_with(
    stopped: list[str], pretask: CommandLine
) -> None:
    for i in range(12):
        picture(Path(f"photos/cat/1{i:02}.png"), size=(24, 24), seed=400 + i)
    before = images_of("baseline")
    pretask.well(*stopped)
    assert images_of("sla-fast") == before
    results = results_of("runs/compare-photos/sla-fast-epochs1-seed0")
    assert any("12 added" in note for note in results["data"]["notes"])
    assert results["data"]["image_size"] == [16, 16]
    assert Identity.read(Path("runs/compare-photos") / IMAGES).place == str(Path("photos").resolve())


def test_a_study_whose_images_moved_goes_on_there(stopped: list[str], pretask: CommandLine) -> None:
    Path("other").mkdir()
    Path("photos").rename("other/photos")
    picture(Path("other/photos/cat/100.png"), seed=401)
    before = images_of("baseline")
    pretask.well(*("other/photos" if word == "photos" else word for word in stopped))
    assert images_of("sla-fast") == before


def test_a_study_is_not_mixed_from_two_sets_of_images(stopped: list[str], pretask: CommandLine) -> None:
    for i, path in enumerate(sorted(Path("photos").rglob("*.png"))):
        picture(path, seed=500 + i)
    pretask(*stopped).fault(
        "runs/compare-photos was begun with other images than", "16 of 16 train images have another content",
        "another --name",
    )  # fmt: skip
    assert not Path("runs/compare-photos/sla-fast-epochs1-seed0").exists()
