"""An image at the size that a network sees: one arithmetic wherever images are read, and its description."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LARGE_SIDE = 64
ZOOM = 256 / 224


@dataclass(frozen=True)
class Framing:
    """An image is resized until it just covers `cover`, keeping its shape, and the centre of `size` is what is left.

    An image that has `size` is left alone. Resizing is Pillow's BILINEAR: linear weights as wide as the reduction, so
    nothing is aliased; each pass, along rows and then along columns, ends in whole values of 0 … 255. No more than
    `cover` is computed, so the cost follows it however long and narrow the image is.

    Attributes:
        cover: (height, width), no smaller than `size`.
        size: (height, width).
    """

    cover: tuple[int, int]
    size: tuple[int, int]

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) that a whole image of such a size would be resized to."""
        if self.cover[0] * width >= self.cover[1] * height:
            return self.cover[0], self.cover[0] * width // height
        return self.cover[1] * height // width, self.cover[1]

    def picture(self, image: Image.Image) -> Image.Image:
        """Fit a picture of one or three bands of 8 bits."""
        if (image.height, image.width) == self.size:
            return image
        top, left = (round((have - want) / 2) for have, want in zip(self.cover, self.size, strict=True))
        return self._covered(image).crop((left, top, left + self.size[1], top + self.size[0]))

    def _covered(self, image: Image.Image) -> Image.Image:
        """Return the centre of `cover` of what a picture is resized to."""
        whole = (image.height, image.width)
        if whole == self.cover:
            return image
        rows, columns = map(_Span.centred, whole, self.resized(*whole), self.cover)
        # Cut first: Pillow keeps a box in single precision, which is too little for places far from the corner.
        near = image.crop((columns.first, rows.first, columns.last, rows.last))
        # Pass by pass: in which order Pillow takes both depends on its version and on the sizes.
        height, width = self.cover
        narrow = near.resize(
            (width, near.height), Image.Resampling.BILINEAR, (columns.start, 0, columns.end, near.height)
        )
        return narrow.resize((width, height), Image.Resampling.BILINEAR, (0, rows.start, width, rows.end))

    def tensor(self, image: Tensor) -> Tensor:
        """Fit an image in memory, uint8 [C, h, w], to the same values as a picture."""
        if tuple(image.shape[-2:]) == self.size:
            return image
        bands = [np.array(self.picture(Image.fromarray(band))) for band in image.cpu().numpy()]
        return torch.from_numpy(np.stack(bands)).to(image.device)


@dataclass(frozen=True)
class _Span:
    """Rows or columns `first` … `last` of an image, and what of them is seen, counted from `first`."""

    first: int
    last: int
    start: float
    end: float

    @classmethod
    def centred(cls, given: int, resized: int, wanted: int) -> _Span:
        """Return the `wanted` in the middle of `given` pixels that are resized, with all that weighs in them."""
        scale = given / resized
        start = round((resized - wanted) / 2) * scale
        end = min(start + wanted * scale, given)
        reach = max(scale, 1) + 1
        first, last = max(0, math.floor(start - reach)), min(given, math.ceil(end + reach))
        return cls(first, last, start - first, end - first)


def zoomed(size: tuple[int, int]) -> tuple[int, int]:
    """Return `size` × 256/224: what a photo is resized to before its centre, or a part of it, is cut out."""
    return round(size[0] * ZOOM), round(size[1] * ZOOM)


def covering(size: tuple[int, int]) -> Framing:
    """Return how an image is resized until it covers (height, width), and cut to it."""
    return Framing(size, size)


def as_evaluated(size: tuple[int, int]) -> Framing:
    """Return how images are evaluated, predicted and explained at (height, width).

    Above 64 pixels they are resized to 256/224 of the size, so that the centre leaves out an eighth, which is how
    ImageNet networks are evaluated.
    """
    return Framing(size if max(size) <= LARGE_SIDE else zoomed(size), size)


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring uint8 [C, h, w] to (height, width) the way images are evaluated."""
    return as_evaluated(size).tensor(image)
