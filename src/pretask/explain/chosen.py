"""Which images are shown: pictures that the user names, or some of a split, drawn by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pretask.data import FileImages, LabelledImages
from pretask.data.images.containers import ImageStore
from pretask.data.images.decode import UnreadableImageError
from pretask.data.images.fitting import enough, fit
from pretask.errors import PretaskError


@dataclass(frozen=True, eq=False)
class Chosen:
    """Images to be looked at one by one.

    Attributes:
        pixels: [n, C, H, W] in [0, 1].
        labels: the true class of each, None where unknown.
        titles: what each is called.
    """

    pixels: Tensor
    labels: tuple[int | None, ...]
    titles: tuple[str, ...]


def named_pictures(paths: Sequence[Path | str], channels: int, size: tuple[int, int]) -> Chosen:
    """Return picture files at (height, width), with 1 or 3 channels.

    Raises:
        PretaskError: one of them cannot be read; the message names it.
    """
    files = FileImages(Path(), [str(path) for path in paths], channels)
    try:
        return _chosen(files, range(len(files)), [None] * len(files), size)
    except UnreadableImageError as fault:
        raise PretaskError(
            f"cannot show {fault.what} ({fault.reason}): give picture files with --images"
        ) from fault


def drawn_images(images: LabelledImages, count: int, size: tuple[int, int], seed: int) -> Chosen:
    """Return images of a split at (height, width), one of each class in turn until there are `count`."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    by_class: dict[int, list[int]] = {}
    for row in order:
        by_class.setdefault(int(images.labels[row]), []).append(row)
    queues = [by_class[label] for label in sorted(by_class)]
    turns = range(max(map(len, queues)))
    rows = [queue[turn] for turn in turns for queue in queues if turn < len(queue)][:count]
    return _chosen(images.images, rows, [int(images.labels[row]) for row in rows], size)


def drawn_subset(images: LabelledImages, count: int, seed: int) -> LabelledImages:
    """Return at most `count` images of a split, drawn uniformly, in the split's order."""
    drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    return images.subset(drawn.sort().values)


def _chosen(
    images: ImageStore, rows: Sequence[int], labels: Sequence[int | None], size: tuple[int, int]
) -> Chosen:
    pixels = [fit(images.read(row, enough(size)), size) for row in rows]
    titles = tuple(images.describe(row) for row in rows)
    return Chosen(torch.stack(pixels).float() / 255, tuple(labels), titles)
