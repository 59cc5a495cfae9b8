"""What both kinds of loader promise."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pretask.data.images.containers import ArrayImages, LabelledImages
from pretask.data.loaders.augmentation import augment_names
from pretask.data.loaders.loader import _default_limit, create_loader
from pretask.errors import PretaskError

KINDS = ["resident", "streaming"]


def split_of(n=22, size=(16, 16), channels=3):
    source = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (n, channels, *size), dtype=torch.uint8, generator=source)
    return LabelledImages(ArrayImages(pixels), torch.arange(n) % 5)


def loader_of(split, kind, train=True, batch_size=4, size=(16, 16), **options):
    return create_loader(
        split,
        image_size=size,
        batch_size=batch_size,
        device="cpu",
        train=train,
        kind=kind,
        **{"workers": 0, **options},
    )


def same(a, b):
    return (
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and torch.equal(a.index, b.index)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("augment", augment_names())
def test_starting_late_is_skipping_bit_for_bit(kind, augment):
    split = split_of()
    whole = list(loader_of(split, kind, augment=augment, seed=4).epoch(3))
    used = loader_of(split, kind, augment=augment, seed=4)
    list(used.epoch(0))
    late = list(used.epoch(3, start=2))
    assert len(whole) == 5
    assert len(late) == 3
    assert all(same(a, b) for a, b in zip(whole[2:], late, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("augment", ["crop-flip", "resized-crop-flip"])
def test_two_ranks_see_what_one_rank_sees(kind, augment):
    split = split_of()
    alone = list(loader_of(split, kind, augment=augment, batch_size=6).epoch(1))
    ranks = [
        list(loader_of(split, kind, augment=augment, batch_size=3, rank=r, world_size=2).epoch(1))
        for r in range(2)
    ]
    assert len(alone) == len(ranks[0]) == len(ranks[1]) == 3
    for whole, first, second in zip(alone, *ranks, strict=True):
        assert torch.equal(whole.images, torch.cat((first.images, second.images)))
        assert torch.equal(whole.labels, torch.cat((first.labels, second.labels)))


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_and_seeds_differ(kind):
    split = split_of()
    batches = [
        next(loader_of(split, kind, augment="crop-flip", seed=seed).epoch(epoch)).images
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert not torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("augment", augment_names())
def test_no_global_generator_is_touched(kind, augment):
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    for batch in loader_of(split_of(), kind, augment=augment).epoch(0):
        assert batch.images.shape == (4, 3, 16, 16)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_index_belong_to_the_images(kind):
    split = split_of()
    for batch in loader_of(split, kind).epoch(5):
        assert torch.equal(batch.images, split.images.array[batch.index].float() / 255)
        assert torch.equal(batch.labels, split.labels[batch.index])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world_size", [1, 3])
def test_evaluation_is_in_order_with_marked_padding(kind, world_size):
    split = split_of(n=22)
    loaders = [
        loader_of(split, kind, train=False, batch_size=5, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    assert len({len(loader) for loader in loaders}) == 1
    seen, padding = [], 0
    for step in zip(*(loader.epoch(0) for loader in loaders), strict=True):
        for batch in step:
            real = batch.labels >= 0
            assert len(batch.labels) == loaders[0].batch_size
            assert (batch.labels[~real] == -1).all()
            assert torch.equal(batch.labels[real], split.labels[batch.index[real]])
            assert torch.equal(batch.images, split.images.array[batch.index].float() / 255)
            seen += batch.index[real].tolist()
            padding += int((~real).sum())
    assert seen == list(range(22))
    assert padding == len(loaders[0]) * loaders[0].batch_size * world_size - 22


def test_both_kinds_evaluate_the_same_pixels():
    for size in ((16, 16), (12, 12), (80, 96)):
        a, b = (next(loader_of(split_of(), kind, train=False, size=size).epoch(0)) for kind in KINDS)
        assert torch.equal(a.images, b.images)


def test_auto_keeps_on_the_device_what_fits():
    split = split_of(n=10)
    needed = 10 * 3 * 16 * 16
    assert loader_of(split, "auto", resident_limit=needed).kind == "resident"
    assert loader_of(split, "auto", resident_limit=needed - 1).kind == "streaming"
    assert loader_of(split, "auto").kind == "resident"
    assert loader_of(split, "resident", resident_limit=0).kind == "resident"


def test_auto_counts_photos_at_the_size_they_are_stored():
    split = split_of(n=10, size=(20, 20))
    shown, stored = 10 * 3 * 14 * 14, 10 * 3 * 16 * 16
    for limit, kind in ((shown, "streaming"), (stored, "resident")):
        loader = loader_of(split, "auto", size=(14, 14), augment="resized-crop", resident_limit=limit)
        assert loader.kind == kind


def test_auto_leaves_randaugment_to_workers():
    assert loader_of(split_of(), "auto", augment="randaugment", workers=1).kind == "streaming"
    assert loader_of(split_of(), "auto", augment="randaugment", workers=0).kind == "resident"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "residant"}, "did you mean 'resident'"),
        ({"augment": "flop"}, "did you mean 'flip'"),
        ({"batch_size": 0}, "batch size 0"),
        ({"size": (0, 4)}, "image size"),
        ({"world_size": 23}, "22 training images cannot be shared by 23 processes"),
    ],
)
def test_faults_are_one_line(options, message):
    with pytest.raises(PretaskError, match=message) as caught:
        loader_of(split_of(), **{"kind": "auto", **options})
    assert "\n" not in str(caught.value)


def test_an_empty_split_is_refused():
    with pytest.raises(PretaskError, match="no images"):
        loader_of(split_of().subset([]), "auto", train=False)


def test_randaugment_of_four_channels_is_refused():
    with pytest.raises(PretaskError, match=r"--augment crop-flip$"):
        loader_of(split_of(channels=4), "auto", augment="crop-flip-randaugment")


def test_augmented_evaluation_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="is for training"):
        loader_of(split_of(), "auto", train=False, augment="flip")


def test_what_is_free_on_a_gpu_decides_nothing(monkeypatch):
    gpu = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    assert _default_limit(torch.device("cuda")) == 10 * 2**30
