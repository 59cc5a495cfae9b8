"""Images that stay on the device: bits, memory, sharing."""

from __future__ import annotations

import gc

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pretask.data.images.containers import ArrayImages, ImageStore, LabelledImages
from pretask.data.images.decode import Header
from pretask.data.loaders import resident as held
from pretask.data.loaders.augmentation import draw, get_augmentation
from pretask.data.loaders.loader import create_loader, in_memory
from pretask.data.loaders.schedule import generator
from pretask.errors import PretaskError


def split_of(n=40, size=(32, 32), channels=3):
    source = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (n, channels, *size), dtype=torch.uint8, generator=source)
    return LabelledImages(ArrayImages(pixels), torch.arange(n) % 7)


def resident(split, size=(32, 32), batch_size=8, train=True, **options):
    return create_loader(
        split,
        image_size=size,
        batch_size=batch_size,
        device="cpu",
        train=train,
        kind="resident",
        **options,
    )


class Sizes(ImageStore):
    """Images that have to be decoded: each its own size."""

    channels = 3

    def __init__(self, shapes):
        self.shapes = shapes
        self.reads = 0

    def __len__(self):
        return len(self.shapes)

    def read(self, i):
        self.reads += 1
        return torch.full(self.shapes[i], i, dtype=torch.uint8)

    def header(self, i):
        channels, height, width = self.shapes[i]
        return Header(height, width, channels)

    def describe(self, i):
        return f"cats/{i}.png"

    def converted(self, channels):
        return self

    def subset(self, indices):
        return Sizes([self.shapes[i] for i in indices])


def literal_crop_flip(image, top, left, mirrored):
    canvas = torch.zeros(3, 40, 40, dtype=torch.uint8)
    canvas[:, 4:36, 4:36] = image
    out = canvas[:, top : top + 32, left : left + 32]
    if mirrored:
        out = torch.stack([out[:, :, 31 - x] for x in range(32)], dim=2)
    return out


def test_batches_are_the_stored_images_cropped_and_flipped_one_by_one():
    split = split_of()
    loader = resident(split, augment="crop-flip", seed=3)
    assert (loader.kind, loader.batch_size, loader.num_images, len(loader)) == ("resident", 8, 40, 5)
    for step, batch in enumerate(loader.epoch(2)):
        table = draw(get_augmentation("crop-flip"), 8, (32, 32), (32, 32), generator("augment", 3, 2, step))
        for row, i in enumerate(batch.index.tolist()):
            expected = literal_crop_flip(split.images.read(i), *table[:, row].tolist())
            assert torch.equal(batch.images[row], expected.float() / 255)
            assert batch.labels[row] == split.labels[i]


@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_are_float_in_the_asked_memory_format(channels_last):
    batch = next(resident(split_of(), channels_last=channels_last).epoch(0))
    assert batch.images.dtype == torch.float32
    assert batch.images.min() >= 0 and 0.99 < batch.images.max() <= 1
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.images.is_contiguous(memory_format=layout)


def test_memory_format_changes_no_value():
    first, second = (
        next(resident(split_of(), augment="crop-flip", channels_last=c).epoch(0)) for c in (False, True)
    )
    assert torch.equal(first.images, second.images)


def test_an_array_of_the_right_size_is_used_where_it_lies():
    split = split_of(channels=1)
    part = split.subset(torch.tensor([30, 3, 4, 5]))
    whole, subset = resident(split), resident(part, train=False)
    stored = split.images.storage.data_ptr()
    assert whole.pixels.data_ptr() == stored
    assert subset.pixels.data_ptr() == stored
    batch = next(subset.epoch(0))
    assert torch.equal(batch.images, split.images.array[[30, 3, 4, 5]].float() / 255)
    assert torch.equal(batch.labels, split.labels[[30, 3, 4, 5]])
    assert batch.index.tolist() == [0, 1, 2, 3]


class LargestNew(TorchDispatchMode):
    """Notes the largest tensor that any operation returns, storage `known` apart."""

    def __init__(self, known):
        super().__init__()
        self.known = known
        self.nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() != self.known:
                self.nbytes = max(self.nbytes, leaf.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("augment", ["crop-flip", "resized-crop-flip"])
def test_fifty_thousand_images_stay_uint8_and_uncopied(augment):
    pixels = torch.empty(50_000, 3, 32, 32, dtype=torch.uint8)
    split = LabelledImages(ArrayImages(pixels), torch.zeros(50_000, dtype=torch.int64))
    with LargestNew(pixels.untyped_storage().data_ptr()) as new:
        loader = resident(split, batch_size=128, augment=augment)
        epoch = loader.epoch(0)
        for _ in range(2):
            next(epoch)
    assert loader.nbytes == 153_600_000
    assert loader.pixels.data_ptr() == pixels.data_ptr()
    assert new.nbytes <= 128 * 3 * 40 * 40 * 4  # one padded batch as float


def test_other_sizes_are_decoded_once_and_shared_while_in_use():
    images = Sizes([(3, 40, 50), (3, 100, 33), (3, 16, 16), (3, 32, 32)])
    split = LabelledImages(images, torch.arange(4))
    first = resident(split, train=False)
    assert first.pixels.shape == (4, 3, 32, 32)
    assert first.nbytes == 4 * 3 * 32 * 32
    batch = next(first.epoch(0))
    assert torch.equal(batch.images[:, 0, 0, 0] * 255, torch.arange(4.0))

    second = resident(split, train=True)
    assert second.pixels is first.pixels
    assert images.reads == 4
    del first, second
    gc.collect()
    assert not [key for key, value in held._HELD.items() if value.source is images]


def test_photos_for_resized_crops_are_stored_larger_than_shown():
    split = LabelledImages(Sizes([(3, 300, 400)] * 4), torch.arange(4))
    loader = resident(split, size=(112, 112), batch_size=4, augment="resized-crop-flip")
    assert loader.pixels.shape == (4, 3, 128, 128)
    assert next(loader.epoch(0)).images.shape == (4, 3, 112, 112)
    shown = resident(split, size=(128, 128), batch_size=4, train=False)
    assert shown.pixels is not loader.pixels  # the same size, but of another part of the photo


def test_mixed_channels_name_the_image():
    split = LabelledImages(Sizes([(3, 8, 8), (1, 8, 8)]), torch.arange(2))
    with pytest.raises(PretaskError, match=r"cats/1\.png has 1 channels, the others have 3"):
        resident(split, size=(8, 8), batch_size=1)


def test_randaugment_changes_images_by_their_own_seed():
    split = split_of(16)
    plain = next(resident(split, batch_size=16, seed=1).epoch(0))
    one = next(resident(split, batch_size=16, seed=1, augment="randaugment").epoch(0))
    halves = [
        next(resident(split, batch_size=8, seed=1, augment="randaugment", rank=r, world_size=2).epoch(0))
        for r in range(2)
    ]
    assert torch.equal(one.index, plain.index)
    assert not torch.equal(one.images, plain.images)
    assert torch.equal(one.images, torch.cat([half.images for half in halves]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_a_gpu_gives_the_same_bits(augment):
    split = split_of()
    options = {"image_size": (32, 32), "batch_size": 8, "train": True, "augment": augment, "kind": "resident"}
    here = create_loader(split, device="cpu", **options)
    there = create_loader(split, device="cuda", **options)
    for a, b in zip(here.epoch(1), there.epoch(1), strict=True):
        assert torch.equal(a.images, b.images.cpu())
        assert torch.equal(a.labels, b.labels.cpu())


class Noise(Sizes):
    """Images of many sizes with content."""

    def read(self, i, at_least=None):
        self.reads += 1
        source = torch.Generator().manual_seed(i)
        return torch.randint(256, self.shapes[i], dtype=torch.uint8, generator=source)


@pytest.mark.parametrize(
    ("side", "augment", "once"),
    [(24, "crop-flip", True), (24, "resized-crop-flip", False), (80, "resized-crop-flip", True)],
)
def test_a_split_decoded_once_gives_the_batches_of_its_originals(side: int, augment: str, once: bool) -> None:
    source = Noise([(3, 90 + 7 * i, 150 - 9 * i) for i in range(8)])
    split = LabelledImages(source, torch.arange(8))
    kept = in_memory(split, (side, side), "cpu", augment)
    assert source.reads == (8 if once else 0)
    assert kept.images.describe(3) == "cats/3.png"
    for train, of_mode in ((True, augment), (False, "none")):
        loaders = (resident(s, (side, side), 4, train, augment=of_mode) for s in (split, kept))
        for original, again in zip(*(loader.epoch(1) for loader in loaders), strict=True):
            assert torch.equal(original.images, again.images)
            assert torch.equal(original.labels, again.labels)


def test_a_split_too_large_for_memory_stays_where_it_is(monkeypatch) -> None:
    monkeypatch.setattr("pretask.data.loaders.loader._CPU_LIMIT", 1000)
    split = LabelledImages(Noise([(3, 90, 90)] * 4), torch.arange(4))
    assert in_memory(split, (24, 24), "cpu") is split
