"""One pass over the pictures: what each is like, in a few numbers, and a small grey version to compare."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pretask.checks.pictures import Pictures
from pretask.data.images.decode import UnreadableImageError, or_fault
from pretask.data.images.stores import ImageStore
from pretask.data.parallel import map_indices

SIDE = 128
"""Pixels of the shorter side, at most, at which brightness and blur are measured."""
SMALL = 64
"""Side of the grey version that is kept of each picture."""
MOST_COMPARED = 200_000
"""Pictures up to which small versions are kept, 4 KB each, and near copies are looked for."""
_NEARLY = 3
"""Levels of 255 within which pixels count as one value."""
_WINDOW = 9
"""Pixels over which the measure of blur blurs."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """What one picture is like.

    Attributes:
        height, width: as stored, upright.
        digest: the same for pictures of the same pixels.
        dark_end, bright_end: grey values in [0, 1] that a twentieth of the pixels lie below, and above.
        one_value: share of the pixels that have nearly the same grey value.
        blur: in [0, 1], see `blur_of`.
        small: uint8 [64, 64], the whole picture in grey.
    """

    height: int
    width: int
    digest: bytes
    dark_end: float
    bright_end: float
    one_value: float
    blur: float
    small: NDArray[np.uint8]


class Looks:
    """What all pictures are like, one row for each; rows of unreadable ones hold nothing.

    Attributes:
        faults: why pictures are unreadable, by their numbers.
        readable: bool [n].
        height, width, dark_end, bright_end, one_value, blur: float64 [n]; see `Look`.
        digest: of each picture; b"" for unreadable ones.
        small: uint8 [n, 64, 64]; None for more than `MOST_COMPARED` pictures.
    """

    def __init__(self, n: int) -> None:
        self.faults: dict[int, str] = {}
        self.readable = np.zeros(n, dtype=bool)
        self.height, self.width, self.dark_end, self.bright_end, self.one_value, self.blur = np.zeros((6, n))
        self.digest = [b""] * n
        self.small = np.zeros((n, SMALL, SMALL), dtype=np.uint8) if n <= MOST_COMPARED else None

    def keep(self, i: int, found: Look | UnreadableImageError) -> None:
        """Keep what was found of picture `i`."""
        if isinstance(found, UnreadableImageError):
            self.faults[i] = found.reason
            return
        self.readable[i], self.digest[i] = True, found.digest
        self.height[i], self.width[i] = found.height, found.width
        self.dark_end[i], self.bright_end[i] = found.dark_end, found.bright_end
        self.one_value[i], self.blur[i] = found.one_value, found.blur
        if self.small is not None:
            self.small[i] = found.small


def look_at(pictures: Pictures) -> Looks:
    """Decode every picture once, in threads."""
    looks = Looks(len(pictures))
    every = range(len(pictures))
    found = map_indices(or_fault(partial(look, pictures.images)), every, "looking at the pictures")
    for i, one in zip(every, found, strict=True):
        looks.keep(i, one)
    return looks


def look(images: ImageStore, i: int) -> Look:
    """Return what image `i` is like.

    Raises:
        UnreadableImageError: it cannot be decoded.
    """
    header = images.header(i)
    pixels = images.read(i).permute(1, 2, 0).numpy()
    size = f"{header.height}x{header.width}x{pixels.shape[2]}".encode()
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16, key=size).digest()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    grey = picture.convert("L")
    values = np.asarray(_at_most(grey, SIDE))
    dark, bright = np.percentile(values, (5, 95)) / 255
    near = np.abs(values.astype(np.int16) - int(np.median(values))) <= _NEARLY
    return Look(
        header.height,
        header.width,
        digest,
        float(dark),
        float(bright),
        float(near.mean()),
        blur_of(values / 255),
        np.asarray(_resized(grey, (SMALL, SMALL))),
    )


def blur_of(values: NDArray[Any]) -> float:
    """Return how little a picture changes when it is blurred, from 0 for sharp to 1 for blurred.

    The measure of Crété-Roffet et al., "The blur effect: perception and estimation with a new no-reference perceptual
    blur metric" (SPIE 2007): the share of the differences between neighbours that a mean over 9 pixels leaves; the
    larger of the two directions counts, so that motion in one is found.

    Args:
        values: grey [H, W].
    """
    return max(_blur_along(values), _blur_along(values.T))


def _blur_along(values: NDArray[Any]) -> float:
    if values.shape[0] <= _WINDOW + 1:
        return 0.0
    sums = np.cumsum(np.pad(values, ((1, 0), (0, 0))), axis=0)
    blurred = (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW
    half = _WINDOW // 2
    before = np.abs(np.diff(values[half : half + len(blurred)], axis=0))
    after = np.abs(np.diff(blurred, axis=0))
    total = float(before.sum())
    return 1 - float(np.maximum(before - after, 0).sum()) / total if total else 0.0


def _at_most(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture whose shorter side is at most `side`."""
    shorter = min(picture.size)
    if shorter <= side:
        return picture
    width, height = (max(1, round(length * side / shorter)) for length in picture.size)
    return _resized(picture, (width, height))


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
