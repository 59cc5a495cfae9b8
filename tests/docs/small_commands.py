"""Runs commands of the pages in small: stand-ins for what they name, and flags that make them short."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from command_line import picture, picture_folder
from pretask.backbones import create_backbone
from pretask.cli import main as cli
from pretask.data.images.containers import ArrayImages, LabelledImages, RawData
from pretask.data.sources import SOURCES
from pretask.studies import study
from pretask.studies.plan import EQUAL_EPOCHS, Plan, Variant
from pretask.studies.rows import Done, Score, rows_of, write_rows
from pretask.studies.trials import Trial

TRAININGS = ("train", "pretrain", "few-shot")
STUDIES = ("demo", "compare", "compare-pretraining", "compare-few-shot")
PRETRAINED = ("trimix", "simclr")
CLASSES = tuple(f"kind{number}" for number in range(10))
SIDE = 16

_TRAINING = {
    "--device": "cpu", "--threads": "1", "--precision": "fp32", "--compile": "no", "--backbone": "resnet8",
    "--batch-size": "4", "--warmup-epochs": "0", "--eval-every": "1",
}  # fmt: skip
_ADDED = {
    "train": _TRAINING,
    "pretrain": {**_TRAINING, "--batch-size": "8", "--hidden-size": "16", "--embedding-size": "8"},
    "few-shot": {**_TRAINING, "--queries": "2", "--episodes": "2", "--test-episodes": "4"},
    "fit": {
        "--device": "cpu", "--threads": "1", "--precision": "fp32", "--backbone": "resnet8", "--time": "10s",
    },
    "check": {"--device": "cpu", "--threads": "1", "--backbone": "resnet8", "--time": "10s"},
    "evaluate": {"--device": "cpu"},
    "predict": {"--device": "cpu"},
    "explain": {"--device": "cpu", "--points": "40", "--count": "2"},
    "speed": {
        "--device": "cpu", "--threads": "1", "--precision": "fp32", "--compile": "no", "--backbone": "resnet8",
        "--batch-size": "8", "--image-size": str(SIDE), "--rounds": "1", "--per-round": "1",
    },
}  # fmt: skip
_OF_DATA = {
    "--image-size": str(SIDE),
    "--per-class": "4",
    "--validation": "0.2",
    "--profile": "2",
    "--jobs": "1",
}


def small(tokens: Sequence[str]) -> list[str]:
    """Return a command with the sizes of data, network and training made small; all else is as it was typed."""
    if "--resume" in tokens or "--help" in tokens:
        return list(tokens)
    command, made = tokens[0], fitting([token for token in tokens if token != "--pretrained"])
    made = [token.replace("blocks.9", "blocks.1") for token in made]
    for flag, value in _ADDED.get(command, {}).items():
        set_flag(made, flag, value)
    if command == "predict" and "--coverage" in made:  # stand-ins have too few validation images for it
        place = made.index("--coverage")
        del made[place : place + 2]
    if command in TRAININGS:
        set_flag(made, *(("--steps", "2") if "--steps" in made else ("--epochs", "1")))
    return made


def fitting(tokens: Sequence[str]) -> list[str]:
    """Return a command that asks no more of the data than the stand-ins have."""
    made = list(tokens)
    for flag, value in _OF_DATA.items():
        if flag in made and made[made.index(flag) + 1] != "0":
            set_flag(made, flag, value)
    if "--recipe" in made and "few-shot" not in made[0] and "--validation" not in made:
        made += ["--validation", "0.2"]
    return made


def set_flag(tokens: list[str], flag: str, value: str) -> None:
    """Give a flag of one value another one, or add it."""
    if flag in tokens:
        tokens[tokens.index(flag) + 1] = value
    else:
        tokens += [flag, value]


class Planned(Exception):
    """Stands in place of the runs of a study, whose data is read and whose methods are all built by then."""


class Folder:
    """Where the commands of one page are run, one after another.

    Args:
        stage: holds what pages name, see `make_stage`, and the runs that pages name without making them.
        path: an empty folder, for the runs that the page makes.

    Attributes:
        provided: names of runs that the page did not make.
    """

    def __init__(self, stage: Path, path: Path) -> None:
        self.stage, self.path, self.provided = stage, path, set[str]()
        self._made = path / "made"
        self._made.mkdir(parents=True)

    def run(self, tokens: Sequence[str]) -> None:
        """Run a command in small; it finds the runs that it names, and those that it makes are kept."""
        place = self._place(tokens)
        self._call(small(tokens), place)
        for run in (place / "runs").iterdir():
            if not run.is_symlink():
                shutil.rmtree(self._made / run.name, ignore_errors=True)
                shutil.move(run, self._made / run.name)

    def plan(self, tokens: Sequence[str]) -> list[Trial]:
        """Return the runs of a study without making them: its data is read, and the method of every run is built."""
        planned: list[Trial] = []

        def stop(trials: Sequence[Trial], *settings: object) -> list[str]:
            planned.extend(trials)
            raise Planned

        place = self._place(tokens)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Planned):
            patch.setattr(study, "execute", stop)
            patch.chdir(place)
            cli.main(fitting(tokens))
        return planned

    def _call(self, tokens: Sequence[str], place: Path) -> None:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
            patch.chdir(place)
            cli.main(tokens)
        assert left.value.code == 0, " ".join(tokens)

    def _place(self, tokens: Sequence[str]) -> Path:
        """Return a new folder that shows everything there is, and of the runs those that a command names."""
        place = self.path / str(len(list(self.path.iterdir())))
        (place / "runs").mkdir(parents=True)
        for thing in self.stage.iterdir():
            if thing.name != "library":
                (place / thing.name).symlink_to(thing)
        for name in re.findall(r"runs/([\w.-]+)", " ".join(tokens)):
            (place / "runs" / name).symlink_to(self._find(name))
        return place

    def _find(self, name: str) -> Path:
        if (self._made / name).exists():
            return self._made / name
        self.provided.add(name)
        run = self.stage / "library" / "runs" / name
        if not run.exists():
            method, data = name.removesuffix("-seed0").rsplit("-", 1)
            command = "pretrain" if method in PRETRAINED else "train"
            size = [] if data == "digits" else ["--image-size", str(SIDE)]
            self._call(small([command, "--data", data, "--method", method, *size]), run.parents[1])
        return run


def make_stage(top: Path) -> Path:
    """Fill a folder with stand-ins for the pictures, data sets and files that pages name."""
    for name in ("photos", "other-photos"):
        picture_folder(top / name, CLASSES, count=8, size=(SIDE, SIDE))
    for split in ("train", "test"):
        others = tuple(f"other{number}" for number in range(5))
        picture_folder(top / "other" / split, others, count=8, size=(SIDE, SIDE))
    picture_folder(top / "new", ("a", "b"), count=1, size=(20, 24))
    for name in ("holiday.jpg", "new.jpg"):
        picture(top / name, (30, 20))
    network = create_backbone("resnet8", image_size=(SIDE, SIDE))
    save_file(network.state_dict(), top / "resnet18.safetensors")
    data = top / "data"
    for split in ("train", "test"):
        picture_folder(data / "cifar10" / split, CLASSES, count=10, size=(SIDE, SIDE))
    for split in ("train", "val", "test"):
        names = tuple(f"{split}{number}" for number in range(5))
        picture_folder(data / "cifar-fs" / split, names, count=4, size=(SIDE, SIDE))
    picture_folder(
        data / "omniglot",
        tuple(f"sign{number}" for number in range(30)),
        count=10,
        size=(SIDE, SIDE),
        mode="L",
    )
    for name in ("pneumonia", "other"):
        images, labels = _noise(2, 15, 1)
        np.savez(
            data / f"{name}.npz",
            train_images=images[:, 0],
            train_labels=labels,
            test_images=images[:, 0],
            test_labels=labels,
        )
    scores = [Score("accuracy", "single", metric, 0.5) for metric in ("top1", "ece")]
    variants = [Variant(name, name) for name in ("baseline", "sla")]
    plan = Plan(tuple(variants), (0,), {EQUAL_EPOCHS: dict.fromkeys(variants, 1)})
    write_rows(top / "runs.csv", rows_of(plan, {cell: Done(scores, 1, 10.0, 1.0) for cell in plan.cells()}))
    library = top / "library"
    library.mkdir()
    for thing in list(top.iterdir()):
        if thing != library:
            (library / thing.name).symlink_to(thing)
    return top


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """Let the names of published data sets stand for a handful of noise."""
    SOURCES.names()  # finds them, before they are replaced
    for name, channels, side in (("digits", 1, 8), ("cifar10", 3, SIDE), ("cifar100", 3, SIDE)):

        def read(
            folder: Path, download: bool, name: str = name, channels: int = channels, side: int = side
        ) -> RawData:
            splits = {
                split: _labelled(14 if split == "train" else 6, channels, side) for split in ("train", "test")
            }
            return RawData(name, splits, CLASSES, augment="crop")

        patch.setitem(SOURCES._parts, name, read)


def _labelled(per_class: int, channels: int, side: int) -> LabelledImages:
    images, labels = _noise(len(CLASSES), per_class, channels, side)
    return LabelledImages(ArrayImages(torch.from_numpy(images)), torch.from_numpy(labels))


def _noise(classes: int, per_class: int, channels: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 [n, C, H, W] and labels int64 [n]."""
    draws = np.random.default_rng(classes + per_class)
    labels = np.arange(classes * per_class) % classes
    return draws.integers(0, 256, (len(labels), channels, side, side), dtype=np.uint8), labels
