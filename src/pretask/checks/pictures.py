"""The pictures that are checked: all splits in one row, each picture with its class, its split and its file."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import torch

from pretask.data.images.containers import FileImages, RawData
from pretask.data.images.stores import JoinedImages
from pretask.data.readers.folder import UNLABELLED

KEPT_FIRST = ("test", "validation", "train")
"""Of copies in several splits, which one keeps its picture: so that test numbers stay comparable."""


class Pictures:
    """All pictures of a data set in one row, split after split, as its reader found them.

    Args:
        raw: the data set.

    Attributes:
        splits: the names of those that hold pictures.
        images: n of them, from 0 on.
        labels: int64 [n].
        class_names: N names.
    """

    def __init__(self, raw: RawData) -> None:
        self.raw = raw
        self._parts = {name: split for name, split in raw.splits.items() if len(split)}
        self.splits = tuple(self._parts)
        self._starts = [0, *accumulate(len(split) for split in self._parts.values())]
        self.images = JoinedImages(tuple(split.images for split in self._parts.values()))
        self.labels = torch.cat([split.labels for split in self._parts.values()])
        self.class_names = raw.class_names

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def labelled(self) -> bool:
        """Whether the pictures have classes."""
        return self.class_names != (UNLABELLED,)

    @property
    def in_files(self) -> bool:
        """Whether every picture is a file of its own."""
        return all(isinstance(split.images, FileImages) for split in self._parts.values())

    def rows(self, split: str) -> range:
        """Return the numbers of the pictures of a split."""
        place = self.splits.index(split)
        return range(self._starts[place], self._starts[place + 1])

    def split(self, i: int) -> str:
        """Return the split of picture `i`."""
        return self.splits[bisect_right(self._starts, i) - 1]

    def label(self, i: int) -> str:
        """Return the class of picture `i`, nothing where there are none."""
        return self.class_names[int(self.labels[i])] if self.labelled else ""

    def name(self, i: int) -> str:
        """Return what a person would call picture `i`; see `ImageStore.describe`."""
        return self.images.describe(i)

    def path(self, i: int) -> Path:
        """Return the file of picture `i`, where `in_files`."""
        place = bisect_right(self._starts, i) - 1
        images = self._parts[self.splits[place]].images
        assert isinstance(images, FileImages)
        return images.path(i - self._starts[place])

    def rank(self, i: int) -> tuple[int, int]:
        """Return by what copies are sorted: the first is kept where others are left out."""
        return KEPT_FIRST.index(self.split(i)), i

    def counts(self, split: str) -> list[int]:
        """Return how many pictures of each class a split has."""
        of_split = self.labels[self.rows(split).start : self.rows(split).stop]
        counts: list[int] = torch.bincount(of_split, minlength=len(self.class_names)).tolist()
        return counts
