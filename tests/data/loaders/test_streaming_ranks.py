"""Ranks with worker processes show each image once in an epoch, wherever in it they began."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from parquet_shards import numbered, write_shards
from pretask.data import load_data
from pretask.data.images.containers import ArrayImages, FileImages, LabelledImages
from pretask.data.loaders import streaming
from pretask.data.loaders.loader import create_loader
from pretask.data.loaders.schedule import Schedule
from pretask.data.readers import row_groups

IMAGES = 50
STEPS = 6
"""Global batches of eight: 48 images, and two that are left out."""


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch):
    monkeypatch.setattr(streaming, "usable_cpus", lambda: 2)


@pytest.fixture(params=["folder", "shards", "shards of which one group is at hand"])
def numbered_images(request, tmp_path, monkeypatch):
    """Images whose pixels are their number, in files of their own or in 13 row groups of three files."""
    encoded = [numbered(i, 16) for i in range(IMAGES)]
    if request.param == "folder":
        paths = [f"{i:02}.bmp" for i in range(IMAGES)]
        for path, content in zip(paths, encoded, strict=True):
            (tmp_path / path).write_bytes(content)
        return LabelledImages(FileImages(tmp_path, paths, 1), torch.arange(IMAGES) % 3)
    if "one group" in request.param:
        monkeypatch.setattr(row_groups, "OPEN_BYTES", 1)
    write_shards(tmp_path, encoded)
    split = load_data(tmp_path, memory_limit=0).train
    assert len(split.images.blocks.of.unique()) > 3
    assert (split.images.blocks.at_once == 1) == ("one group" in request.param)
    return split


def batches(split, rank, epoch, start=0, stop=STEPS, world=2, workers=2, train=True, augment="none"):
    """Return (index, labels, images) of some steps of a rank that has just been started."""
    loader = create_loader(
        split, image_size=(16, 16), batch_size=8 // world, device="cpu", train=train, augment=augment,
        kind="streaming", workers=workers, rank=rank, world_size=world,
    )  # fmt: skip
    if train:
        assert (len(loader), loader._workers) == (STEPS, workers)
    taken = zip(range(start, stop), loader.epoch(epoch, start), strict=False)
    shown = [(batch.index, batch.labels, batch.images) for _, batch in taken]
    loader.close()
    return shown


def numbers(steps) -> list[int]:
    """Return the images that were shown, as their pixels tell, which is what index and label say too."""
    seen: list[int] = []
    for index, labels, images in steps:
        shown = (images[:, 0, 0, 0] * 255).round().long()
        assert torch.equal(shown, index)
        assert torch.equal(labels, shown % 3)
        seen += shown.tolist()
    return seen


def test_each_image_is_shown_once_but_the_last_two_of_the_order(numbered_images):
    """What does not fill a global batch is left out: the end of the order, which is another in each epoch."""
    left_out = []
    for epoch in (1, 2):
        seen = [i for rank in range(2) for i in numbers(batches(numbered_images, rank, epoch))]
        assert len(seen) == len(set(seen)) == 48
        alone = Schedule.train(IMAGES, 8, 0, 0, 1, numbered_images.images.blocks)
        assert set(seen) == set(alone.index(epoch)[0].flatten().tolist())
        left_out.append(set(range(IMAGES)) - set(seen))
    assert [len(images) for images in left_out] == [2, 2]
    assert left_out[0] != left_out[1]


@pytest.mark.parametrize("stop", [1, 4])
def test_a_rank_that_begins_in_mid_epoch_goes_on_with_the_same_pixels(numbered_images, stop):
    """Before a stop and after it, with new worker processes, the batches are those of the uninterrupted epoch."""
    seen: list[int] = []
    for rank in range(2):
        before = batches(numbered_images, rank, 1, 0, stop)
        after = batches(numbered_images, rank, 1, stop)
        assert (len(before), len(after)) == (stop, STEPS - stop)
        check_same([*before, *after], batches(numbered_images, rank, 1))
        seen += numbers([*before, *after])
    assert len(seen) == len(set(seen)) == 48


def test_random_crops_are_those_of_one_process_in_mid_epoch_too():
    """Two ranks of two workers that stop and begin again together show what one rank without workers does."""
    images = torch.randint(
        256, (IMAGES, 3, 20, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    split = LabelledImages(ArrayImages(images), torch.arange(IMAGES) % 3)
    random = {"augment": "resized-crop-flip"}
    alone = batches(split, 0, 1, world=1, workers=0, **random)
    ranks = [
        [*batches(split, rank, 1, 0, 4, **random), *batches(split, rank, 1, 4, **random)] for rank in range(2)
    ]
    together = [tuple(map(torch.cat, zip(*parts, strict=True))) for parts in zip(*ranks, strict=True)]
    check_same(together, alone)


def test_each_image_is_evaluated_once(numbered_images):
    seen: list[int] = []
    for rank in range(2):
        for index, labels, _ in batches(numbered_images, rank, 0, stop=100, train=False):
            seen += index[labels >= 0].tolist()
    assert sorted(seen) == list(range(IMAGES))


def check_same(found: list[tuple[Tensor, ...]], expected: list[tuple[Tensor, ...]]) -> None:
    """Check that batches are equal bit for bit, and so their order."""
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))
