"""What happens to training images, by name, one by one or by the batch."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pretask.errors import unknown_name

if TYPE_CHECKING:
    from torchvision.transforms import v2

CROP_SCALE = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
"""Area share and aspect ratio of a resized crop: Szegedy et al., arXiv 1409.4842, as torchvision has them."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to each training image, in this order.

    Attributes:
        crop: "pad" shifts the image by up to an eighth of its side, over zeros (4 of 32 pixels, the CIFAR
            augmentation of He et al., arXiv 1512.03385); "resized" cuts out a random part and resizes it.
        flip: mirror it left to right, every other time.
        randaugment: RandAugment, two operations of magnitude 9 (Cubuk et al., arXiv 1909.13719).
    """

    name: str
    description: str
    crop: Literal["pad", "resized"] | None = None
    flip: bool = False
    randaugment: bool = False


_AUGMENTATIONS = {
    augmentation.name: augmentation
    for augmentation in (
        Augmentation("none", "the image as it is"),
        Augmentation("flip", "mirrored left to right half of the time", flip=True),
        Augmentation("crop", "shifted by up to an eighth of its side, zeros filled in", crop="pad"),
        Augmentation("crop-flip", "crop, then flip: small images", crop="pad", flip=True),
        Augmentation("resized-crop", "a random part, 8 to 100 % of the area, resized", crop="resized"),
        Augmentation("resized-crop-flip", "resized-crop, then flip: photos", crop="resized", flip=True),
        Augmentation("randaugment", "two random colour or shape changes of magnitude 9", randaugment=True),
        Augmentation(
            "crop-flip-randaugment", "crop-flip, then randaugment", crop="pad", flip=True, randaugment=True
        ),
        Augmentation(
            "resized-crop-flip-randaugment",
            "resized-crop-flip, then randaugment",
            crop="resized",
            flip=True,
            randaugment=True,
        ),
    )
}


def augment_names() -> list[str]:
    """Return the names, the plainest first."""
    return list(_AUGMENTATIONS)


def augment_descriptions() -> dict[str, str]:
    """Return each augmentation's name and what it does, in one line."""
    return {name: augmentation.description for name, augmentation in _AUGMENTATIONS.items()}


def get_augmentation(name: str) -> Augmentation:
    """Return an augmentation; an unknown name is a `PretaskError` that names the nearest one."""
    if name not in _AUGMENTATIONS:
        raise unknown_name("augmentation", name, _AUGMENTATIONS)
    return _AUGMENTATIONS[name]


def recommended_augment(image_size: tuple[int, int], flip: bool = True) -> str:
    """Return the usual augmentation for a size: shifts up to 64 pixels, resized crops above.

    `flip` is False where a mirrored image means something else: digits, letters, X-rays.
    """
    crop = "crop" if max(image_size) <= 64 else "resized-crop"
    return f"{crop}-flip" if flip else crop


def padding(image_size: tuple[int, int]) -> tuple[int, int]:
    """Return how far "crop" shifts, vertically and horizontally."""
    return image_size[0] // 8, image_size[1] // 8


_CROP_ATTEMPTS = 10


def draw(
    augmentation: Augmentation,
    count: int,
    stored: tuple[int, int],
    size: tuple[int, int],
    generator: torch.Generator,
) -> Tensor:
    """Draw what crop and flip of `augmentation` need for `count` samples of size `stored` that end up at `size`.

    Returns:
        int64 [rows, count] on the CPU: the crop's rows (top, left; and height, width for a resized crop),
        then one row of 0 or 1 for the flip.
    """
    rows: list[Tensor] = []
    if augmentation.crop == "pad":
        rows.extend(torch.randint(2 * reach + 1, (count,), generator=generator) for reach in padding(size))
    elif augmentation.crop == "resized":
        rows.extend(_draw_boxes(count, stored, generator))
    if augmentation.flip:
        rows.append(torch.randint(2, (count,), generator=generator))
    return torch.stack(rows) if rows else torch.empty(0, count, dtype=torch.int64)


def apply(images: Tensor, augmentation: Augmentation, table: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop and flip uint8 [B, C, h, w] as `draw` drew; returns uint8 [B, C, H, W] of `size`, a new tensor."""
    rows = list(table)
    if augmentation.crop == "pad":
        images = pad_crop(images, rows.pop(0), rows.pop(0), padding(size))
    elif augmentation.crop == "resized":
        images = resized_crop(images, torch.stack(rows[:4]), size)
        rows = rows[4:]
    return flip(images, rows.pop(0)) if augmentation.flip else images


def pad_crop(images: Tensor, top: Tensor, left: Tensor, reach: tuple[int, int]) -> Tensor:
    """Pad with zeros by `reach` = (vertical, horizontal), then cut the old size out at (top, left).

    Args:
        images: [B, C, H, W] of any type.
        top, left: int64 [B], 0..2·reach.
    """
    B, C, H, W = images.shape
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0]))
    height, width = padded.shape[-2:]
    # Every run of W neighbouring values as a row of a view: a crop is then H of these rows per channel.
    runs = padded.reshape(-1).as_strided((padded.numel() - W + 1, W), (1, 1))
    planes = torch.arange(B * C, device=images.device).view(B, C, 1) * (height * width)
    lines = (top[:, None] + torch.arange(H, device=images.device)) * width + left[:, None]
    return runs.index_select(0, (planes + lines[:, None]).reshape(-1)).view(B, C, H, W)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the samples of [B, C, H, W] whose entry in `mirrored`, int64 [B] of 0 or 1, is 1."""
    B = len(images)
    both = torch.cat((images, images.flip(-1)))
    return both.index_select(0, torch.arange(B, device=images.device) + B * mirrored)


def resized_crop(images: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut a box out of each sample and resize it bilinearly, without antialiasing.

    Equals cutting out and `F.interpolate(mode="bilinear", align_corners=False)`, one by one. There is no
    antialiasing because stored photos are at most 256/224 as large as `size`, so nothing shrinks much.

    Args:
        images: uint8 [B, C, h, w].
        boxes: int64 [4, B]: top, left, height, width, in pixels.

    Returns:
        uint8 [B, C, H, W].
    """
    top, left, height, width = boxes.to(torch.float32)
    rows = _sample_points(top, height, size[0], images.shape[-2])
    columns = _sample_points(left, width, size[1], images.shape[-1])
    grid = torch.stack(
        (columns[:, None, :].expand(-1, size[0], -1), rows[:, :, None].expand(-1, -1, size[1])), -1
    )
    sampled = F.grid_sample(images.to(torch.float32), grid, "bilinear", "border", align_corners=True)
    return sampled.round_().to(torch.uint8)


def _sample_points(start: Tensor, length: Tensor, count: int, extent: int) -> Tensor:
    """Return where `count` output pixels lie along one axis, in grid_sample's −1..1: [B, count]."""
    steps = torch.arange(count, device=start.device, dtype=torch.float32) + 0.5
    inside = steps * (length / count)[:, None] - 0.5
    # Clamped to the box, so that nothing from outside it is blended in.
    inside = torch.minimum(inside.clamp_(min=0), length[:, None] - 1)
    return (start[:, None] + inside) * (2 / max(extent - 1, 1)) - 1


def _draw_boxes(count: int, stored: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Draw top, left, height, width as torchvision's RandomResizedCrop does: ten tries, then the centre."""
    H, W = stored
    shape = (_CROP_ATTEMPTS, count)
    area = H * W * torch.empty(shape).uniform_(*CROP_SCALE, generator=generator)
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    ratio = torch.empty(shape).uniform_(low, high, generator=generator).exp_()
    width = (area * ratio).sqrt_().round_().to(torch.int64)
    height = (area / ratio).sqrt_().round_().to(torch.int64)
    fits = (width > 0) & (width <= W) & (height > 0) & (height <= H)

    centre_height, centre_width = _centre_box(H, W)
    first = fits.to(torch.int8).argmax(0, keepdim=True)
    any_fits = fits.any(0)
    height = torch.where(any_fits, height.gather(0, first)[0], centre_height)
    width = torch.where(any_fits, width.gather(0, first)[0], centre_width)
    place = torch.rand(2, count, generator=generator)
    top = (place[0] * (H - height + 1)).long()
    left = (place[1] * (W - width + 1)).long()
    top = torch.where(any_fits, top, (H - centre_height) // 2)
    left = torch.where(any_fits, left, (W - centre_width) // 2)
    return top, left, height, width


def _centre_box(H: int, W: int) -> tuple[int, int]:
    """Return height and width of the largest box of an allowed aspect ratio."""
    narrowest, widest = CROP_RATIO
    aspect = W / H
    if aspect < narrowest:
        return round(W / narrowest), W
    if aspect > widest:
        return H, round(H * widest)
    return H, W


@functools.cache
def make_randaugment() -> v2.RandAugment:
    """Return torchvision's RandAugment (Cubuk et al., arXiv 1909.13719) of uint8 [C, H, W], 1 or 3 channels."""
    from torchvision.transforms import v2

    return v2.RandAugment(num_ops=2, magnitude=9)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator, which torchvision draws from, and put it back afterwards."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
    try:
        yield
    finally:
        torch.set_rng_state(state)


def randaugment(image: Tensor, seed: int) -> Tensor:
    """Apply RandAugment to one image, uint8 [C, H, W], with randomness from `seed` alone."""
    with seeded(seed):
        changed: Tensor = make_randaugment()(image)
    return changed
