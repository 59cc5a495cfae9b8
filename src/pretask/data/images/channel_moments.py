"""Mean and standard deviation of each channel."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pretask.data.images.stores import ArrayImages, ImageStore
from pretask.data.parallel import map_indices

MOST_IN_MEMORY = 10_000
MOST_DECODED = 2_000
"""Images looked at: fewer where each has to be decoded first; the mean is then good to about 0.005."""

_SMALLEST_STD = 1 / 255
_CHUNK_ELEMENTS = 4_000_000


def channel_statistics(images: ImageStore, seed: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) per channel in [0, 1] units, over at most `MOST_IN_MEMORY` images chosen by `seed`.

    Every image weighs the same, whatever its size, because a network sees all of them at one size.
    """
    moments = _array_moments(images, seed) if isinstance(images, ArrayImages) else _read_moments(images, seed)
    total, count = torch.zeros(()), 0
    for chunk in moments:
        total = total + chunk.sum(0)
        count += len(chunk)
    mean, square = total / count
    std = (square - mean**2).clamp_min(0).sqrt().clamp_min(_SMALLEST_STD)
    return tuple(mean.tolist()), tuple(std.tolist())


def _choose(n: int, most: int, seed: int) -> Tensor:
    if n <= most:
        return torch.arange(n)
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:most].sort().values


def _array_moments(images: ArrayImages, seed: int) -> Iterator[Tensor]:
    chosen = _choose(len(images), MOST_IN_MEMORY, seed)
    rows = chosen if images.rows is None else images.rows[chosen]
    per_image = images.storage[0].numel()
    for chunk in torch.split(rows, max(1, _CHUNK_ELEMENTS // per_image)):
        yield _moments(images.storage[chunk])


def _read_moments(images: ImageStore, seed: int) -> Iterator[Tensor]:
    chosen = _choose(len(images), MOST_DECODED, seed).tolist()
    yield from map_indices(lambda i: _moments(images.read(i)[None]), chosen, "channel statistics")


def _moments(images: Tensor) -> Tensor:
    """Map uint8 [b, C, H, W] to each image's mean and mean square: float64 [b, 2, C] in [0, 1] units."""
    pixels = images.flatten(2).double() / 255
    return torch.stack((pixels.mean(2), pixels.square().mean(2)), dim=1)
