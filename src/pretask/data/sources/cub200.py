"""Caltech-UCSD Birds 200-2011, as CUB_200_2011.tgz unpacks."""

from __future__ import annotations

from pathlib import Path

from pretask.data.images.containers import RawData
from pretask.data.sources import SOURCES
from pretask.data.sources._layout import find_layout, from_entries, read_lines
from pretask.errors import PretaskError

_NEEDED = ("images", "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")


@SOURCES.register("cub200")
def read_cub200(folder: Path, download: bool) -> RawData:
    """CUB-200-2011: 5,994 + 5,794 photos of birds, 200 species, seen at 224x224; unpack CUB_200_2011.tgz"""
    top = find_layout("cub200", folder, _NEEDED, "CUB_200_2011")
    paths = _table(top / "images.txt")
    kinds = _table(top / "image_class_labels.txt")
    is_train = _table(top / "train_test_split.txt")
    names = _table(top / "classes.txt")
    entries: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    for image, path in paths.items():
        if image not in is_train or kinds.get(image) not in names:
            raise PretaskError(
                f"cub200: image {image} has no line in train_test_split.txt, or none with its class in "
                f"image_class_labels.txt and classes.txt: unpack the archive again"
            )
        split = "train" if is_train[image] == "1" else "test"
        entries[split].append((f"images/{path}", names[kinds[image]]))
    return from_entries("cub200", top, entries)


def _table(path: Path) -> dict[str, str]:
    """Read lines of a number and a value."""
    lines = (line.partition(" ") for line in read_lines(path))
    return {number: value.strip() for number, _, value in lines}
