"""Data sets whose classes are shared out: what is learned from some is tried on others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pretask.data.images.containers import SPLITS, ImageData
from pretask.data.load import load_data
from pretask.errors import PretaskError

SHARES = (0.6, 0.2, 0.2)
"""Of the classes, to train on, to select by and to test on."""
_NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}


@dataclass(frozen=True, eq=False)
class ClassSplit:
    """Train, validation and test images of different classes.

    Attributes:
        train, validation, test: data sets that each have all their images in `train`, labels from 0; means and
            standard deviations are those of the train classes.
    """

    train: ImageData
    validation: ImageData
    test: ImageData

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.train.name

    def summary(self) -> str:
        """Return the data set in one line."""
        parts = (self.train, self.validation, self.test)
        sizes = ", ".join(f"{part.num_classes} classes ({len(part.train):,} images)" for part in parts)
        height, width = self.train.image_size
        return f"{self.name}: train, validation and test of {sizes}; {height}x{width}x{self.train.channels}"


def load_class_split(
    source: str,
    *,
    image_size: int | None = None,
    channels: int | None = None,
    root: str = "data",
    skip_bad: bool = False,
    seed: int = 0,
) -> ClassSplit:
    """Load a data set and share out its classes.

    Args:
        source: as `load_data` takes it, or a folder with train, validation (val) and test folders of *different* class
            folders, as mini-ImageNet, CIFAR-FS and FC100 come, whose classes then are as they lie; all are seen at the
            size and with the channels of the train images.
        image_size, channels, root, skip_bad: as in `load_data`.
        seed: shares out the classes, where the folders do not.

    Raises:
        PretaskError: data that cannot be read, or fewer than three classes.
    """
    folders = _split_folders(Path(source).expanduser())
    if folders is None:
        whole = load_data(source, image_size=image_size, channels=channels, root=root, skip_bad=skip_bad)
        return split_classes(whole, seed)
    found = load_data(folders["train"], image_size=image_size, channels=channels, skip_bad=skip_bad)
    train = replace(found, name=Path(source).resolve().name)
    validation, test = (
        load_data(folders[name], image_size=train.image_size, channels=train.channels, skip_bad=skip_bad)
        for name in ("validation", "test")
    )
    return ClassSplit(train, _like(validation, train), _like(test, train))


def split_classes(data: ImageData, seed: int) -> ClassSplit:
    """Share out the classes of `data`; of its images, those in `train` are taken.

    Raises:
        PretaskError: fewer than three classes.
    """
    order = torch.randperm(data.num_classes, generator=torch.Generator().manual_seed(seed)).tolist()
    if len(order) < len(SHARES):
        raise PretaskError(
            f"{data.name} has {len(order)} classes, too few to train, validate and test on different ones: "
            "give at least three"
        )
    first = max(1, round(SHARES[0] * len(order)))
    first = min(first, len(order) - 2)
    second = min(first + max(1, round(SHARES[1] * len(order))), len(order) - 1)
    parts = [sorted(part) for part in (order[:first], order[first:second], order[second:])]
    train, validation, test = (_only(data, classes) for classes in parts)
    return ClassSplit(train, _like(validation, train), _like(test, train))


def in_order(data: ImageData, class_names: tuple[str, ...]) -> ImageData:
    """Return data with its classes, which are these, in another order.

    Args:
        data: whose images have labels.
        class_names: the same names.
    """
    if data.class_names == class_names:
        return data
    new_label = torch.tensor([class_names.index(name) for name in data.class_names])
    parts = {
        name: replace(part, labels=new_label[part.labels])
        for name in SPLITS
        if (part := getattr(data, name)) is not None
    }
    return replace(data, **parts, class_names=class_names, mean=None, std=None)


def _only(data: ImageData, classes: list[int]) -> ImageData:
    """Return the train images of some classes, labels counted anew."""
    new_label = torch.full((data.num_classes,), -1)
    new_label[classes] = torch.arange(len(classes))
    labels: Tensor = new_label[data.train.labels]
    kept = (labels >= 0).nonzero()[:, 0]
    images = replace(data.train.subset(kept), labels=labels[kept])
    names = tuple(data.class_names[c] for c in classes)
    return replace(data, train=images, validation=None, test=None, class_names=names, mean=None, std=None)


def _like(data: ImageData, train: ImageData) -> ImageData:
    """Return data with the mean and the standard deviation of the train classes."""
    return replace(data, mean=train.mean, std=train.std)


def _split_folders(path: Path) -> dict[str, Path] | None:
    """Return the folders of classes that are shared out already, or None."""
    found = {
        split: path / name for split, names in _NAMES.items() for name in names if (path / name).is_dir()
    }
    if set(found) != set(_NAMES):
        return None
    classes = [{entry.name for entry in folder.iterdir() if entry.is_dir()} for folder in found.values()]
    return found if all(classes) and not set.intersection(*classes) else None
