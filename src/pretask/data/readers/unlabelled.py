"""A folder of images without classes, for pre-training."""

from __future__ import annotations

from pathlib import Path

import torch

from pretask.data.images import FileImages, LabelledImages
from pretask.data.raw import RawData
from pretask.data.readers.folder import scan, unwrapped

UNLABELLED = "unlabelled"
"""The name of the one class of a data set without labels."""


def is_unlabelled(folder: Path) -> bool:
    """Whether images lie directly in `folder`, or all in one folder below it."""
    tree = scan(unwrapped(folder))
    return "" in tree.classes or len(tree.classes) == 1


def read_unlabelled(folder: Path) -> RawData:
    """Read all images below `folder` as train images of one class."""
    top = unwrapped(folder)
    found = scan(top).classes
    paths = [f"{place}/{name}" if place else name for place, names in found.items() for name in names]
    labels = torch.zeros(len(paths), dtype=torch.int64)
    train = LabelledImages(FileImages(top, paths), labels)
    return RawData(folder.resolve().name, {"train": train}, (UNLABELLED,))
