"""A run is judged on its own held-out images, wherever they lie by now, or says why it is not."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from command_line import CommandLine, picture, picture_folder
from pretask import tasks
from pretask.config.files import from_flat
from pretask.data import load_data
from pretask.errors import PretaskError
from pretask.evaluation.run import evaluate_run
from pretask.explain import explain
from pretask.training import loop
from pretask.training.run_folder import RunFolder

SETTINGS = {
    "backbone": "resnet8", "method": "baseline", "epochs": 1, "batch_size": 8, "lr": 0.1, "threads": 1, "device": "cpu",
    "precision": "fp32", "name": "run",
}  # fmt: skip


@pytest.fixture
def pretask(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos` of two classes, and `runs/run`, trained on them from a relative path."""
    top = tmp_path_factory.mktemp("own")
    picture_folder(top / "photos", count=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        tasks.train(from_flat({**SETTINGS, "data": "photos", "runs": str(top / "runs")}))
    return top


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both of a test's own, which it may spoil; the run's images are there."""
    shutil.copytree(trained, tmp_path / "work")
    run = RunFolder(tmp_path / "work/runs/run")
    run.config.write_text(run.config.read_text().replace(str(trained), str(tmp_path / "work")))
    replace(run.known_images(), place=str(tmp_path / "work/photos")).write(run.images)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def answer(run: str = "runs/run", **how: object) -> tuple[dict, list[str]]:
    """Return what a run reaches on its test images, and the notes."""
    found = evaluate_run(run, device="cpu", **how)
    return found["protocols"]["accuracy"]["inferences"]["single"], found["notes"]


def own_test_images(place: Path) -> list[str]:
    return list(RunFolder(place / "runs/run").known_images().parts["test"].names)


def of_train(place: Path, number: int) -> list[Path]:
    known = RunFolder(place / "runs/run").known_images()
    return [place / "photos" / name for name in known.parts["train"].names[:number]]


def _added(place: Path) -> dict[str, object]:
    picture(place / "photos/cat/000.png", seed=77)  # the first by name: all others move on by one
    return {}


def _removed(place: Path) -> dict[str, object]:
    for path in of_train(place, 2):
        path.unlink()
    return {}


def _renamed(place: Path) -> dict[str, object]:
    for name in own_test_images(place):
        path = place / "photos" / name
        path.rename(path.with_name(f"z{path.name}"))
    return {}


def _moved(place: Path) -> dict[str, object]:
    (place / "elsewhere").mkdir()
    (place / "photos").rename(place / "elsewhere/photos2")
    return {"data": str(place / "elsewhere/photos2")}


def _listed(place: Path) -> dict[str, object]:
    """The same photos in another order, under other names, by a list."""
    files = sorted((place / "photos").rglob("*.png"), reverse=True)
    rows = [f"{file.relative_to(place)},{file.parent.name}" for file in files]
    (place / "list.csv").write_text("\n".join(["file,label", *rows]))
    return {"data": str(place / "list.csv")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_added, "1 added"),
        (_removed, "2 missing"),
        (_renamed, "renamed"),
        (_moved, "holds the images of runs/run"),
        (_listed, "holds the images of runs/run"),
    ],
)
def test_the_same_number_where_the_own_images_are_there(
    place: Path, change: Callable[[Path], dict[str, object]], said: str
) -> None:
    before, notes = answer()
    assert (before["n"], notes) == (len(own_test_images(place)), [])
    after, notes = answer(**change(place))
    assert after == before
    assert said in " ".join(notes) and all("\n" not in note for note in notes)


def _without_a_test_image(place: Path) -> None:
    (place / "photos" / own_test_images(place)[0]).unlink()


def _labels_changed(place: Path) -> None:
    (place / "photos/cat").rename(place / "photos/x")
    (place / "photos/dog").rename(place / "photos/cat")
    (place / "photos/x").rename(place / "photos/dog")


def _other_folder_of_the_name(place: Path) -> None:
    shutil.rmtree(place / "photos")
    for kind in ("cat", "dog"):
        for i in range(10):
            picture(place / f"photos/{kind}/{i:02}.png", seed=5000 + i + 100 * (kind == "dog"))


def _gone(place: Path) -> None:
    (place / "photos").rename(place / "photos-elsewhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_a_test_image, ("1 of 4 test images are missing",)),
        (_labels_changed, ("4 of 4 test images have another label", "was cat, is dog")),
        (_other_folder_of_the_name, ("4 of 4 test images have another content",)),
        (_gone, ("which is not there", "type --data with their new place")),
    ],
)
def test_a_refusal_where_the_number_would_be_another(
    place: Path, pretask: CommandLine, change: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    change(place)
    pretask("evaluate", "runs/run", "--device", "cpu").fault("runs/run", *words)
    pretask("explain", "runs/run", "--parts", "examples", "--device", "cpu").fault("runs/run", *words)


def test_a_test_image_that_broke_may_be_left_out(place: Path, pretask: CommandLine) -> None:
    (place / "photos" / own_test_images(place)[0]).write_bytes(b"no picture")
    pretask("evaluate", "runs/run", "--device", "cpu").fault("--skip-bad")
    said = pretask.well("evaluate", "runs/run", "--device", "cpu", "--skip-bad")
    assert "1 missing" in said and answer(skip_bad=True)[0]["n"] == 3
    assert explain(["runs/run"], parts=["examples"], device="cpu", skip_bad=True)["data"] == "photos"


def test_a_run_knows_its_place_wherever_one_stands(
    place: Path, pretask: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    picture_folder(tmp_path / "other/photos", classes=("cat", "dog"), count=3, size=(20, 20))
    assert answer(str(place / "runs/run"))[1] == []
    out = pretask.well("train", "--resume", place / "runs/run")
    assert "is finished" in out
    (place / "photos").rename(tmp_path / "moved")
    pretask("train", "--resume", place / "runs/run").fault("no file or folder")
    assert "is finished" in pretask.well(
        "train", "--resume", place / "runs/run", "--data", tmp_path / "moved"
    )
    pretask("train", "--resume", place / "runs/run", "--data", "photos").fault("images have another content")


def test_trained_images_among_other_data_are_counted(place: Path) -> None:
    """Three of what the run was trained on lie in another folder's test images."""
    for i, path in enumerate(of_train(place, 3)):
        target = place / f"other/test/{path.parent.name}/{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    picture_folder(place / "other/train", count=3)
    picture(place / "other/test/dog/new.png", seed=99)
    _, notes = answer(data=str(place / "other"))
    assert "3 of 4 test images of other are train images of runs/run" in notes


def test_classes_of_other_data_are_matched_by_name(place: Path) -> None:
    """Numbers of classes mean nothing between two files: names do."""
    photos = load_data("photos")
    test = [i for i, name in enumerate(photos.train.images.names) if name in own_test_images(place)]
    pixels, labels = photos.train.images.array[test], photos.train.labels[test]
    right = {"single": answer()[0]}
    names = np.array(["cat", "dog"])
    same = {"train": (pixels, names[labels]), "test": (pixels, names[labels])}
    data = load_data(same)
    swapped = replace(
        data,
        class_names=("dog", "cat"),
        train=replace(data.train, labels=1 - data.train.labels),
        test=replace(data.test, labels=1 - data.test.labels),
    )
    for given in (same, swapped):
        found, _ = answer(data=given)
        assert found["top1"] == right["single"]["top1"]
        assert found["per_class"] == right["single"]["per_class"]


def test_an_older_run_says_that_it_does_not_know_its_images(place: Path) -> None:
    (place / "runs/run/split.safetensors").unlink()
    found, notes = answer()
    assert found["n"] == 4
    assert notes == ["runs/run does not know its images (an older version made it): they are split anew"]


def test_a_run_of_an_older_version_is_resumed_from_its_relative_path(
    place: Path, pretask: CommandLine
) -> None:
    run = RunFolder(place / "runs/run")
    run.images.unlink()
    run.config.write_text(run.config.read_text().replace(f"data: {place}/photos", "data: photos"))
    assert "data: photos\n" in run.config.read_text()
    assert "is finished" in pretask.well("train", "--resume", "runs/run")
    with pytest.raises(PretaskError, match="was started with data = photos, now data = digits is asked"):
        tasks.train(from_flat({**SETTINGS, "data": "digits", "runs": "runs"}))


def test_a_stopped_run_goes_on_with_its_own_images(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos that are added, one larger, change neither its splits nor what it computes."""
    settings = {**SETTINGS, "data": "photos", "runs": "runs", "epochs": 2, "checkpoint_steps": 1}
    tasks.train(from_flat({**settings, "name": "whole"}))
    save, calls = loop.save_snapshot, itertools.count(1)

    def stop(*parts: object) -> None:
        save(*parts)
        if next(calls) == 2:
            raise KeyboardInterrupt

    stopped = from_flat({**settings, "name": "stopped"})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "save_snapshot", stop)
        tasks.train(stopped)
    picture(place / "photos/cat/000.png", seed=77)
    picture(place / "photos/dog/000.png", size=(40, 40), seed=78)
    results = tasks.train(stopped)
    assert "2 added" in results["data"]["notes"][-1]
    whole, own = (load_file(f"runs/{name}/model.safetensors") for name in ("whole", "stopped"))
    assert [name for name in whole if not torch.equal(whole[name], own[name])] == []
    of_train(place, 1)[0].unlink()
    with pytest.raises(PretaskError, match="1 of 14 train images are missing"):
        tasks.train(stopped)


def test_a_damaged_split_is_refused(place: Path, pretask: CommandLine) -> None:
    file = place / "runs/run/split.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    pretask("evaluate", "runs/run", "--device", "cpu").fault("split.safetensors", "does not fit its checksum")


def test_a_run_from_arrays_never_falls_back_on_another_data_set(
    tmp_path: Path, pretask: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    images, labels = draws.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.arange(40) % 2
    config = from_flat({**SETTINGS, "runs": "runs"})
    first = tasks.train(config, load_data((images, labels)))
    pretask("evaluate", "runs/run", "--device", "cpu").fault("objects given in Python", "--data", ".npz")
    pretask("train", "--resume", "runs/run").fault("given in Python", "--data")
    right = first["inferences"]["single"]["selected"]["test"]["loss"]
    np.savez("mine.npz", train_images=images[::-1], train_labels=labels[::-1])
    for again in ((images, labels), "mine.npz", load_data((images, labels))):
        assert answer(data=again)[0]["loss"] == pytest.approx(right, rel=1e-6)
    assert "is finished" in pretask.well("train", "--resume", "runs/run", "--data", "mine.npz")
    with pytest.raises(
        Exception, match="runs/run was begun with other images than these objects: 29 of 29 train images"
    ):
        tasks.train(config, load_data((255 - images, labels)))
    with pytest.raises(PretaskError, match="images have another label"):
        tasks.train(config, load_data((images, 1 - labels)))
    assert tasks.train(config, load_data((images, labels)))["inferences"] == first["inferences"]


def test_size_and_channels_of_the_configuration_hold_for_objects_too(tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).random((20, 8, 8)), np.arange(20) % 2
    config = from_flat({**SETTINGS, "runs": str(tmp_path), "image_size": 16, "channels": 3})
    results = tasks.train(config, load_data((images, labels)))
    assert (results["data"]["image_size"], results["data"]["channels"]) == ([16, 16], 3)
