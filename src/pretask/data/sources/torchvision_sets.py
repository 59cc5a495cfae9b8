"""CIFAR-10, CIFAR-100, Fashion-MNIST and STL-10, read and downloaded by torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretask.data.images.containers import LabelledImages, RawData
from pretask.data.labels import encode_labels
from pretask.data.readers.arrays import images_from_array
from pretask.data.sources import SOURCES
from pretask.errors import PretaskError

_BY_FLAG = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME = {"train": {"split": "train"}, "test": {"split": "test"}}


@SOURCES.register("cifar10")
def read_cifar10(folder: Path, download: bool) -> RawData:
    """CIFAR-10: 50,000 + 10,000 photos of 32x32, 10 classes; downloaded"""
    return _read("cifar10", "CIFAR10", _BY_FLAG, folder, download)


@SOURCES.register("cifar100")
def read_cifar100(folder: Path, download: bool) -> RawData:
    """CIFAR-100: 50,000 + 10,000 photos of 32x32, 100 classes; downloaded"""
    return _read("cifar100", "CIFAR100", _BY_FLAG, folder, download)


@SOURCES.register("fashion-mnist")
def read_fashion_mnist(folder: Path, download: bool) -> RawData:
    """Fashion-MNIST: 60,000 + 10,000 grey pictures of clothes, 28x28, 10 classes; downloaded"""
    return _read("fashion-mnist", "FashionMNIST", _BY_FLAG, folder, download, augment="crop-flip")


@SOURCES.register("stl10")
def read_stl10(folder: Path, download: bool) -> RawData:
    """STL-10: 5,000 + 8,000 photos of 96x96, 10 classes (the unlabelled images are not read); downloaded"""
    return _read("stl10", "STL10", _BY_NAME, folder, download)


def _read(
    name: str,
    reader: str,
    parts: Mapping[str, Mapping[str, Any]],
    folder: Path,
    download: bool,
    augment: str | None = None,
) -> RawData:
    found = {split: _open(name, reader, part, folder, download) for split, part in parts.items()}
    labels, _ = encode_labels({split: _labels(part) for split, part in found.items()}, name)
    splits = {
        split: LabelledImages(images_from_array(part.data, f"{split} images of {name}"), labels[split])
        for split, part in found.items()
    }
    return RawData(name, splits, tuple(found["train"].classes), augment=augment)


def _open(name: str, reader: str, part: Mapping[str, Any], folder: Path, download: bool) -> Any:
    import torchvision

    try:
        return getattr(torchvision.datasets, reader)(str(folder), download=download, **part)
    except (OSError, RuntimeError, EOFError) as fault:  # no network, a full disk, missing or damaged files
        reason = str(fault).split("\n", 1)[0].rstrip(". ")
        raise PretaskError(
            f"cannot get {name} ({reason}): connect to the network, or put torchvision's files in {folder}"
        ) from fault


def _labels(part: Any) -> Any:
    return part.targets if hasattr(part, "targets") else part.labels
