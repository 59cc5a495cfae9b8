"""Strong views against the authors' operations, done by Pillow one image after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from pretask.methods.strong_views import OPERATIONS, StrongViews, cut_out

SIDE = 16


def picture(seed: int) -> np.ndarray:
    """Return smooth colours with noise, uint8 [SIDE, SIDE, 3]."""
    random = np.random.default_rng(seed)
    smooth = random.integers(40, 200, (4, 4, 3)).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
    return (smooth + random.integers(0, 40, smooth.shape)).astype(np.uint8)


PICTURES = [picture(seed) for seed in range(9)]
IMAGES = torch.tensor(np.stack(PICTURES)).permute(0, 3, 1, 2).float() / 255
LEVELS = torch.arange(1, 10)
SIGNS = torch.tensor([1, -1, 1, -1, 1, -1, 1, -1, 1])


def enhanced(kind, image: Image.Image, level: int, sign: int) -> Image.Image:
    return kind(image.convert("RGB")).enhance(0.9 * level / 10 + 0.05)


def affine(image: Image.Image, *entries: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, entries)


THEIRS = {
    "identity": lambda image, level, sign: image,
    "autocontrast": lambda image, level, sign: ImageOps.autocontrast(image.convert("RGB")),
    "equalize": lambda image, level, sign: ImageOps.equalize(image.convert("RGB")),
    "rotate": lambda image, level, sign: image.rotate(sign * int(30 * level / 10)),
    "solarize": lambda image, level, sign: ImageOps.solarize(
        image.convert("RGB"), 256 - int(256 * level / 10)
    ),
    "color": lambda *given: enhanced(ImageEnhance.Color, *given),
    "contrast": lambda *given: enhanced(ImageEnhance.Contrast, *given),
    "brightness": lambda *given: enhanced(ImageEnhance.Brightness, *given),
    "sharpness": lambda *given: enhanced(ImageEnhance.Sharpness, *given),
    "shear-x": lambda image, level, sign: affine(image, 1, sign * 0.3 * level / 10, 0, 0, 1, 0),
    "shear-y": lambda image, level, sign: affine(image, 1, 0, 0, sign * 0.3 * level / 10, 1, 0),
    "translate-x": lambda image, level, sign: affine(
        image, 1, 0, sign * int(0.3 * level / 10 * SIDE), 0, 1, 0
    ),
    "translate-y": lambda image, level, sign: affine(
        image, 1, 0, 0, 0, 1, sign * int(0.3 * level / 10 * SIDE)
    ),
    "posterize": lambda image, level, sign: ImageOps.posterize(image.convert("RGB"), 4 + int(4 * level / 10)),
}
"""Of pictures with an opacity, which is 0 where nothing is seen: grey, as in the authors' code."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_that_of_pillow(name: str) -> None:
    changed = OPERATIONS[name](IMAGES, LEVELS / 10, SIGNS)
    apart = 0.0
    for mine, pixels, level, sign in zip(changed, PICTURES, LEVELS.tolist(), SIGNS.tolist(), strict=True):
        done = THEIRS[name](Image.fromarray(pixels).convert("RGBA"), level, sign)
        theirs = torch.tensor(np.array(done.convert("RGB"))).permute(2, 0, 1) / 255
        if done.mode == "RGBA":
            theirs[:, torch.tensor(np.array(done)[..., 3]) == 0] = 0.5
        apart += ((mine - theirs).abs() > 1.51 / 255).float().mean().item() / len(PICTURES)
    # Pillow finds the pixels of a turned picture in fixed-point numbers.
    assert apart < (0.01 if name in ("rotate", "shear-x", "shear-y") else 1e-9), apart


def test_a_square_of_half_the_side_is_cut_out_as_far_as_it_lies_inside() -> None:
    centres = torch.tensor([[0.5, 0.0, 0.99], [0.5, 0.0, 0.25]])
    cut = cut_out(torch.zeros(3, 1, 16, 16), centres)[:, 0] == 0.5
    expected = torch.zeros(3, 16, 16, dtype=torch.bool)
    expected[0, 4:12, 4:12] = expected[1, :4, :4] = expected[2, 11:, :8] = True
    assert torch.equal(cut, expected)


def test_every_image_has_draws_of_its_own_and_a_quarter_is_only_cut() -> None:
    """Each of two operations is done every other time, and one in fourteen leaves the image as it is."""
    torch.manual_seed(0)
    images = IMAGES[:1].expand(2000, -1, -1, -1)
    views = StrongViews()(images)
    kept = ((views == images) | (views == 0.5)).flatten(1).all(1)
    share = (1 / 2 + 1 / 28) ** 2
    assert kept.float().mean().item() == pytest.approx(share, abs=4 * math.sqrt(share / 2000))
    assert len(views.flatten(1).unique(dim=0)) > 1500
    assert torch.equal(images, IMAGES[:1].expand(2000, -1, -1, -1))


def test_shape_range_format_and_the_seed() -> None:
    for shape in ((9, 1, 8, 8), (5, 3, 12, 16)):
        images = torch.rand(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
        runs = []
        for _ in range(2):
            torch.manual_seed(4)
            runs.append(StrongViews()(images))
        assert torch.equal(*runs) and runs[0].shape == images.shape and not runs[0].requires_grad
        assert runs[0].min() >= 0 and runs[0].max() <= 1
        assert shape[1] == 1 or runs[0].is_contiguous(memory_format=torch.channels_last)
