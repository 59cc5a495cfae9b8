"""Strong views of images: RandAugment as FixMatch has it, then Cutout, drawn for each image by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pretask.methods.random_change import RandomChange
from pretask.pretexts.base import memory_format_of

DRAWN = 2
LEVELS = 10
SHARE = 0.5
"""Operations drawn for an image, with repeats; how many levels of strength there are, of which 1 to 9 are drawn; and
how often an operation that was drawn is done: as in the authors' code."""
CUT = 0.5
"""Side of the square that is cut out, as a share of the image's shorter side."""
GREY = 0.5
"""Of the square, and of what comes in from outside the image."""


class StrongViews(RandomChange):
    """Images [B, C, H, W] in [0, 1] → strongly changed ones.

    Two of 14 operations are drawn for each image, each with a strength of its own, and each is done every other time.
    Then a square of half the side is made grey, its centre anywhere in the image. Sohn et al., NeurIPS 2020, arXiv
    2001.07685: operations and ranges of Table 12, the rest as in the authors' code. Draws come from torch's generator
    of the CPU.
    """

    def change(self, images: Tensor) -> Tensor:
        """Return a strong view of each image; see `RandomChange`."""
        views, count = images.clone(), len(images)
        for _ in range(DRAWN):
            chosen = torch.randint(len(OPERATIONS), (count,))
            chosen[torch.rand(count) >= SHARE] = 0
            strength = torch.randint(1, LEVELS, (count,)) / LEVELS
            sign = torch.randint(2, (count,)) * 2.0 - 1
            # Sorted by operation: then slices of one list, and no wait for the device to say who is concerned.
            order = chosen.argsort(stable=True)
            rows = _sent(order, images.device)
            drawn = _sent(torch.stack((strength, sign))[:, order], images.device).to(images.dtype)
            end = torch.bincount(chosen, minlength=len(OPERATIONS)).cumsum(0).tolist()
            for number, operation in enumerate(list(OPERATIONS.values())[1:], 1):
                part = slice(end[number - 1], end[number])
                if part.start < part.stop:
                    views[rows[part]] = operation(views[rows[part]], *drawn[:, part])
        views = cut_out(views, _sent(torch.rand(2, count), images.device))
        return views.contiguous(memory_format=memory_format_of(images))


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a small CPU tensor to the device without waiting for it."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


Operation = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images [n, C, H, W], strengths [n] in 0.1 … 0.9 and signs [n] of 1 or -1 to changed images."""


def cut_out(images: Tensor, centres: Tensor) -> Tensor:
    """Make a square grey in each image, as far as it lies inside.

    Args:
        images: [B, C, H, W].
        centres: of the squares [2, B], shares of height and width in [0, 1).
    """
    height, width = images.shape[2:]
    reach = max(1, round(CUT * min(height, width)) // 2)

    def within(extent: int, shares: Tensor) -> Tensor:
        middle = (shares * extent).long()[:, None]
        places = torch.arange(extent, device=images.device)
        return (places >= middle - reach) & (places < middle + reach)

    rows, columns = within(height, centres[0]), within(width, centres[1])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], GREY)


def moved(images: Tensor, matrices: Tensor) -> Tensor:
    """Move pixels: out(x, y) is the pixel in which (a·x + b·y + c, d·x + e·y + f) lies, grey where there is none.

    Args:
        images: [n, C, H, W].
        matrices: (a, b, c, d, e, f) of each, [n, 6]; x runs right and y down in pixels, with pixel centres at halves.
    """
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device, dtype=matrices.dtype)[None, :, None] + 0.5
    x = torch.arange(width, device=images.device, dtype=matrices.dtype)[None, None, :] + 0.5
    a, b, c, d, e, f = matrices[:, :, None, None].unbind(1)
    column, row = (a * x + b * y + c).floor().long(), (d * x + e * y + f).floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    source = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
    found = images.flatten(2).gather(2, source[:, None].expand(-1, images.shape[1], -1)).view(images.shape)
    return torch.where(inside[:, None], found, GREY)


def _matrices(strength: Tensor, **entries: Tensor) -> Tensor:
    """Return matrices [n, 6] that are the identity but for the entries given."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    plain = {"a": one, "b": zero, "c": zero, "d": zero, "e": one, "f": zero}
    return torch.stack(list({**plain, **entries}.values()), 1)


def _sheared(images: Tensor, strength: Tensor, sign: Tensor, entry: str) -> Tensor:
    return moved(images, _matrices(strength, **{entry: 0.3 * strength * sign}))


def _shifted(images: Tensor, strength: Tensor, sign: Tensor, entry: str, extent: int) -> Tensor:
    return moved(
        images, _matrices(strength, **{entry: (0.3 * strength * images.shape[extent]).floor() * sign})
    )


def _turned(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Turn counter-clockwise by up to 30 degrees about the middle."""
    height, width = images.shape[2:]
    angle = torch.deg2rad((30 * strength).round() * -sign)
    cos, sin = angle.cos(), angle.sin()
    middle = width / 2, height / 2
    across = middle[0] - cos * middle[0] - sin * middle[1]
    down = middle[1] + sin * middle[0] - cos * middle[1]
    return moved(images, torch.stack((cos, sin, across, -sin, cos, down), 1))


def _blended(images: Tensor, strength: Tensor, sign: Tensor, adjust: str) -> Tensor:
    """Blend with what an adjustment by 0 leaves: black, grey, the mean, or a smoothed image."""
    from torchvision.transforms.v2 import functional

    plain: Tensor = getattr(functional, f"adjust_{adjust}")(images, 0.0)
    return torch.lerp(plain, images, (0.05 + 0.9 * strength)[:, None, None, None])


def _posterised(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Keep 4 to 7 bits of 8."""
    step = 2.0 ** (4 - (4 * strength).floor())[:, None, None, None]
    return ((255 * images).round() / step).floor() * step / 255


def _solarised(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Invert what is as bright as a threshold, which strength lowers."""
    threshold = (256 - (256 * strength).floor())[:, None, None, None]
    return torch.where((255 * images).round() >= threshold, 1 - images, images)


def _stretched(images: Tensor, strength: Tensor, sign: Tensor, name: str) -> Tensor:
    from torchvision.transforms.v2 import functional

    changed: Tensor = getattr(functional, name)(images)
    return changed


def _as_it_is(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    return images


OPERATIONS: dict[str, Operation] = {  # that which does nothing comes first
    "identity": _as_it_is,
    "autocontrast": partial(_stretched, name="autocontrast"),
    "equalize": partial(_stretched, name="equalize"),
    "rotate": _turned,
    "solarize": _solarised,
    "color": partial(_blended, adjust="saturation"),
    "contrast": partial(_blended, adjust="contrast"),
    "brightness": partial(_blended, adjust="brightness"),
    "sharpness": partial(_blended, adjust="sharpness"),
    "shear-x": partial(_sheared, entry="b"),
    "shear-y": partial(_sheared, entry="d"),
    "translate-x": partial(_shifted, entry="c", extent=3),
    "translate-y": partial(_shifted, entry="f", extent=2),
    "posterize": _posterised,
}
