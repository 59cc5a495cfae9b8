"""Batched augmentation against literal loops over single images."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from pretask.data.loaders import augmentation as batched
from pretask.data.loaders.augmentation import augment_names, get_augmentation


def images(n=16, channels=3, height=32, width=32):
    source = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, channels, height, width), dtype=torch.uint8, generator=source)


def crop_one(image, top, left, reach):
    """Put one image on a black canvas and cut its size out, pixel by pixel."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            row, column = y + top - reach[0], x + left - reach[1]
            if 0 <= row < height and 0 <= column < width:
                out[:, y, x] = image[:, row, column]
    return out


@pytest.mark.parametrize(
    ("shape", "reach"),
    [((4, 3, 16, 16), (2, 2)), ((5, 1, 8, 12), (1, 3)), ((3, 2, 9, 7), (0, 2)), ((2, 3, 4, 4), (0, 0))],
)
def test_pad_crop_equals_a_loop(shape, reach):
    given = images(*shape)
    kept = given.clone()
    source = torch.Generator().manual_seed(1)
    for _ in range(5):
        top, left = (torch.randint(2 * r + 1, (shape[0],), generator=source) for r in reach)
        expected = torch.stack([crop_one(*row, reach) for row in zip(given, top, left, strict=True)])
        assert torch.equal(batched.pad_crop(given, top, left, reach), expected)
    assert torch.equal(given, kept)


def test_pad_crop_reaches_all_four_corners():
    given = images(4)
    top, left = torch.tensor([0, 0, 8, 8]), torch.tensor([0, 8, 0, 8])
    expected = torch.stack([crop_one(*row, (4, 4)) for row in zip(given, top, left, strict=True)])
    assert torch.equal(batched.pad_crop(given, top, left, (4, 4)), expected)


def test_flip_equals_a_loop():
    given = images(6, height=5, width=7)
    mirrored = torch.tensor([0, 1, 1, 0, 1, 0])
    expected = given.clone()
    for i in (1, 2, 4):
        for x in range(7):
            expected[i, :, :, x] = given[i, :, :, 6 - x]
    assert torch.equal(batched.flip(given, mirrored), expected)


@pytest.mark.parametrize("size", [(32, 32), (24, 20), (37, 41)])
def test_resized_crop_equals_torchvision_one_by_one(size):
    given = images(24, height=37, width=41)
    boxes = torch.stack(batched._draw_boxes(24, (37, 41), torch.Generator().manual_seed(3)))
    out = batched.resized_crop(given, boxes, size)
    for image, (top, left, height, width), got in zip(given, boxes.T.tolist(), out, strict=True):
        exact = F.resized_crop(image.float(), top, left, height, width, list(size), antialias=False)
        # Rounding to whole values may fall either way at a half.
        assert (got.float() - exact).abs().max() <= 0.502


def test_resized_crop_of_everything_is_the_image():
    given = images(3, height=16, width=24)
    whole = torch.tensor([[0, 0, 16, 24]] * 3).T
    assert torch.equal(batched.resized_crop(given, whole, (16, 24)), given)


def test_resized_crop_takes_nothing_from_outside_its_box():
    given = torch.full((1, 1, 20, 20), 255, dtype=torch.uint8)
    given[:, :, 5:10, 6:14] = 7
    out = batched.resized_crop(given, torch.tensor([[5], [6], [5], [8]]), (32, 32))
    assert (out == 7).all()


@pytest.mark.parametrize("stored", [(256, 256), (100, 300), (300, 100), (3, 3)])
def test_boxes_are_drawn_as_torchvision_draws_them(stored):
    count = 3000
    top, left, height, width = batched._draw_boxes(count, stored, torch.Generator().manual_seed(0))
    assert (top >= 0).all() and (top + height <= stored[0]).all()
    assert (left >= 0).all() and (left + width <= stored[1]).all()
    assert (height > 0).all() and (width > 0).all()

    theirs = v2.RandomResizedCrop(8)
    blank = torch.empty(1, *stored)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [theirs.make_params([blank]) for _ in range(count)]
    for ours, name in ((top, "top"), (left, "left"), (height, "height"), (width, "width")):
        expected = torch.tensor([d[name] for d in drawn]).double()
        error = 5 * expected.std() * (2 / count) ** 0.5 + 0.01  # five standard errors of the difference
        assert abs(ours.double().mean() - expected.mean()) <= error, name
        assert abs(ours.double().std() - expected.std()) <= 0.1 * expected.std() + 0.05, name


def test_shifts_cover_the_whole_range_and_half_is_mirrored():
    augmentation = get_augmentation("crop-flip")
    top, left, mirrored = batched.draw(
        augmentation, 5000, (32, 32), (32, 32), torch.Generator().manual_seed(0)
    )
    assert torch.bincount(top * 9 + left).min() > 20
    assert 0.45 < mirrored.float().mean() < 0.55


@pytest.mark.parametrize("name", augment_names())
def test_apply_is_crop_then_flip_and_leaves_its_input(name):
    augmentation, given = get_augmentation(name), images(8)
    kept = given.clone()
    table = batched.draw(augmentation, 8, (32, 32), (32, 32), torch.Generator().manual_seed(5))
    expected = given
    if augmentation.crop == "pad":
        expected = batched.pad_crop(given, table[0], table[1], (4, 4))
    elif augmentation.crop == "resized":
        expected = batched.resized_crop(given, table[:4], (32, 32))
    if augmentation.flip:
        expected = batched.flip(expected, table[-1])
    assert torch.equal(batched.apply(given, augmentation, table, (32, 32)), expected)
    assert torch.equal(given, kept)
