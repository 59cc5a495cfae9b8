"""Episodes as steps of a loader, and classes that are shared out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pretask.data import ArrayImages, LabelledImages, create_loader
from pretask.data.loaders.schedule import EpisodeSchedule, EpisodeSize
from pretask.data.splits.classes import load_class_split
from pretask.errors import PretaskError

SIZE = EpisodeSize(ways=3, shots=2, queries=2)


def images(classes: int = 6, count: int = 5) -> LabelledImages:
    labels = torch.arange(classes * count) % classes
    pixels = (
        torch.arange(classes * count, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    )
    return LabelledImages(ArrayImages(pixels), labels)


def schedule(steps: int = 7, rank: int = 0, world_size: int = 1) -> EpisodeSchedule:
    return EpisodeSchedule.make(images().labels, SIZE, steps, 5, rank, world_size)


def test_each_step_is_an_episode_class_by_class() -> None:
    loader = create_loader(
        images(),
        image_size=(4, 4),
        batch_size=12,
        device="cpu",
        train=True,
        schedule=schedule(),
        augment="crop",
    )
    assert len(loader) == 7 and loader.batch_size == 12
    kinds = set()
    for part in loader.epoch(0):
        labels = part.labels.view(3, 4)
        assert (labels == labels[:, :1]).all() and len(labels[:, 0].unique()) == 3
        assert len(part.index.unique()) == 12
        kinds |= set(labels[:, 0].tolist())
    assert kinds == set(range(6))


def test_episodes_depend_on_seed_epoch_and_step_alone() -> None:
    first, second = schedule().index(0)[0], schedule().index(1)[0]
    assert torch.equal(first, schedule().index(0)[0]) and not torch.equal(first, second)
    assert torch.equal(first[:3], schedule(steps=3).index(0)[0])


def test_ranks_take_turns() -> None:
    alone = schedule(steps=6).index(2)[0]
    ranks = [schedule(steps=3, rank=rank, world_size=2).index(2)[0] for rank in (0, 1)]
    assert torch.equal(torch.stack(ranks, 1).flatten(0, 1), alone)


def test_more_ways_than_classes_are_told() -> None:
    with pytest.raises(PretaskError, match="7-way episodes need 7 classes with 4 images or more, here are 6"):
        EpisodeSchedule.make(images().labels, EpisodeSize(7, 2, 2), 1, 0, 0, 1)
    with pytest.raises(PretaskError, match="with 9 images or more, here are 0"):
        EpisodeSchedule.make(images().labels, EpisodeSize(3, 5, 4), 1, 0, 0, 1)


def draw(folder: Path, classes: list[str], size: int = 8, count: int = 3) -> None:
    for number, name in enumerate(classes):
        for k in range(count):
            path = folder / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((size, size), 10 * number + k, np.uint8)).save(path)


def test_classes_are_shared_out_by_the_seed(tmp_path: Path) -> None:
    draw(tmp_path / "signs", [f"s{k}" for k in range(10)])
    split = load_class_split(str(tmp_path / "signs"), seed=1)
    names = [set(part.class_names) for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in names] == [6, 2, 2] and len(set.union(*names)) == 10
    for part in (split.train, split.validation, split.test):
        assert len(part.train) == 3 * part.num_classes
        assert part.train.labels.unique().tolist() == list(range(part.num_classes))
        assert part.mean == split.train.mean
    # The labels still stand for the images: the grey of an image tells its class.
    for label, name in enumerate(split.test.class_names):
        rows = (split.test.train.labels == label).nonzero()[:, 0]
        pixels = split.test.train.images.subset(rows).array
        assert {int(value) // 10 for value in pixels.flatten().tolist()} == {int(name[1:])}
    assert load_class_split(str(tmp_path / "signs"), seed=1).test.class_names == split.test.class_names
    assert load_class_split(str(tmp_path / "signs"), seed=2).test.class_names != split.test.class_names
    assert "train, validation and test of 6 classes (18 images), 2 classes" in split.summary()


def test_folders_that_share_out_classes_are_taken_as_they_lie(tmp_path: Path) -> None:
    for part, classes in (("train", ["a", "b", "c"]), ("val", ["d", "e"]), ("test", ["f", "g"])):
        draw(tmp_path / "mini" / part, classes)
    split = load_class_split(str(tmp_path / "mini"))
    assert (split.name, split.train.class_names, split.validation.class_names, split.test.class_names) == (
        "mini", ("a", "b", "c"), ("d", "e"), ("f", "g"),
    )  # fmt: skip


def test_what_cannot_be_shared_out_is_told(tmp_path: Path) -> None:
    draw(tmp_path / "two", ["a", "b"])
    with pytest.raises(PretaskError, match="two has 2 classes, too few"):
        load_class_split(str(tmp_path / "two"))


def test_all_classes_are_seen_at_the_size_of_the_train_images(tmp_path: Path) -> None:
    for part, size in (("train", 8), ("val", 8), ("test", 12)):
        draw(tmp_path / "sizes" / part, [part + "1", part + "2"], size=size)
    split = load_class_split(str(tmp_path / "sizes"))
    assert split.test.image_size == split.train.image_size == (8, 8)
    draw(tmp_path / "sizes" / "train", ["train3"], size=40)
    split = load_class_split(str(tmp_path / "sizes"))
    assert split.test.image_size == split.validation.image_size == split.train.image_size == (16, 16)
