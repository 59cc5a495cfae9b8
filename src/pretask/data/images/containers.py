"""Images with labels, and the data sets they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, overload

import torch
from torch import Tensor

from pretask.data.images.channel_moments import channel_statistics
from pretask.data.images.contents import contents_of
from pretask.data.images.stores import (
    ArrayImages,
    ByteItems,
    EncodedImages,
    FileImages,
    ImageStore,
    Indices,
    as_index,
)
from pretask.errors import PretaskError
from pretask.options import Decision

__all__ = [
    "ArrayImages",
    "ByteItems",
    "EncodedImages",
    "FileImages",
    "ImageData",
    "ImageStore",
    "Indices",
    "LabelledImages",
]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and their labels.

    Attributes:
        images: n of them.
        labels: int64 [n] in 0 … N-1; -1 where unknown.
        contents: what the images were recognised by as they were found, int64 [n, 2], see `contents_of`; None where
            nobody looked.

    Raises:
        ValueError: as many labels as images are needed, of type int64.
    """

    images: ImageStore
    labels: Tensor
    contents: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self.images),):
            raise ValueError(
                f"need int64 labels [{len(self.images)}], got {self.labels.dtype} {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Indices) -> LabelledImages:
        """Return the images at `indices` with their labels, in that order."""
        chosen = as_index(indices)
        contents = None if self.contents is None else self.contents[chosen]
        return LabelledImages(self.images.subset(chosen), self.labels[chosen], contents)

    def known_contents(self) -> Tensor:
        """Return `contents`; where nobody looked, look."""
        return contents_of(self.images) if self.contents is None else self.contents


class _OfTrainImages:
    """Mean or standard deviation of a data set: as given, or else found when one of the two is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, data: None, owner: type) -> _OfTrainImages: ...
    @overload
    def __get__(self, data: ImageData, owner: type) -> tuple[float, ...]: ...
    def __get__(self, data: ImageData | None, owner: type) -> _OfTrainImages | tuple[float, ...]:
        if data is None:
            raise AttributeError(self.name)  # by which `dataclass` knows that there is no default
        known = vars(data)
        if known[self.name] is None:
            known["mean"], known["std"] = channel_statistics(data.train.images)
        found: tuple[float, ...] = known[self.name]
        return found

    def __set__(self, data: ImageData, value: tuple[float, ...] | None) -> None:
        vars(data)[self.name] = value


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: its splits and what was found out about them.

    Attributes:
        name: for headers, folders and tables.
        train, validation, test: the splits; None where there is none.
        class_names: N names, in the order of the labels.
        channels: of every image, 1 or 3.
        image_size: (height, width) at which the network sees each image.
        mean, std: per channel, in [0, 1] units, over the train images; given as None, they are found when first read.
        augment: the recommended augmentation.
        mixed_sizes: whether stored images differ in size, so that a loader has to resize them.
        skipped: images left out because they could not be read.
        notes: what was done to the splits and which files were left out, for reports: "test: 20 % of train, seed 0".
        decisions: what was left open and had to be decided from the images, such as their size.
        unlabelled: all train images where `train` has only some of them, their labels -1; None where it has all.
        train_counts: images of each class that a model at hand was trained on, where they were not these.
        source: the name or the absolute path that it was read from; None for objects of the caller's own.
        whole: the data as it was before it was split; None where it is not.
    """

    name: str
    train: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages | None
    class_names: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]
    mean: _OfTrainImages = _OfTrainImages()
    std: _OfTrainImages = _OfTrainImages()
    augment: str = "none"
    mixed_sizes: bool = False
    skipped: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    train_counts: tuple[int, ...] | None = None
    unlabelled: LabelledImages | None = None
    decisions: tuple[Decision, ...] = ()
    source: str | None = None
    whole: ImageData | None = field(default=None, repr=False)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def class_counts(self) -> Tensor:
        """Train images per class, int64 [N]."""
        if self.train_counts is not None:
            return torch.tensor(self.train_counts)
        return torch.bincount(self.train.labels, minlength=self.num_classes)

    def facts(self) -> dict[str, Any]:
        """Return what a run header or a report states, as plain numbers and strings."""
        counts = self.class_counts
        return {
            "name": self.name,
            "train_images": len(self.train),
            "validation_images": 0 if self.validation is None else len(self.validation),
            "test_images": 0 if self.test is None else len(self.test),
            "unlabelled_images": 0 if self.unlabelled is None else len(self.unlabelled),
            "classes": self.num_classes,
            "class_names": list(self.class_names),
            "class_counts": counts.tolist(),
            "largest_class": int(counts.max()),
            "smallest_class": int(counts.min()),
            "channels": self.channels,
            "image_size": list(self.image_size),
            "mixed_sizes": self.mixed_sizes,
            "mean": [round(value, 4) for value in self.mean],
            "std": [round(value, 4) for value in self.std],
            "augment": self.augment,
            "skipped_images": len(self.skipped),
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return the data set in one line."""
        train, validation, test = (
            0 if split is None else len(split) for split in (self.train, self.validation, self.test)
        )
        (height, width), counts = self.image_size, self.class_counts
        smallest, largest = int(counts.min()), int(counts.max())
        each = f"{largest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"
        count = len(self.skipped)
        skipped = f"; {count:,} unreadable image{'s' * (count > 1)} left out" if count else ""
        return (
            f"{self.name}: {train + validation + test:,} images ({train:,} train, {validation:,} validation, "
            f"{test:,} test), {self.num_classes} classes ({each} train images each), "
            f"{height}x{width}x{self.channels}{skipped}"
        )


SPLITS: tuple[str, ...] = ("train", "validation", "test")
_STARTS = {"train": ("train",), "validation": ("valid", "val", "dev"), "test": ("test",)}


@dataclass(frozen=True, eq=False)
class RawData:
    """Labelled images as a reader found them.

    Attributes:
        name: of the data set.
        class_names: N names, in the order of the labels.
        notes: what a user should know of it, for headers and reports.
        splits: "train" always; "validation" and "test" where there are any.
        channels, image_size, augment: what the data set is known to need; None to find out.
    """

    name: str
    splits: Mapping[str, LabelledImages]
    class_names: tuple[str, ...]
    channels: int | None = None
    image_size: tuple[int, int] | None = None
    augment: str | None = None
    notes: tuple[str, ...] = ()


def split_of(name: str) -> str | None:
    """Return "train", "validation" or "test" for a name that starts like one, else None."""
    lowered = name.lower()
    for split, starts in _STARTS.items():
        if lowered.startswith(starts):
            return split
    return None


def check_has_images(splits: Mapping[str, object], where: str) -> None:
    """Raise `PretaskError` unless there is a train split."""
    if "train" not in splits:
        found = ", ".join(splits) or "nothing"
        raise PretaskError(f"{where} has no train images (found: {found}): add a split called train")
