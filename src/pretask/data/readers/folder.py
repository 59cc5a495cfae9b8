"""Folders of images: a folder for each class, or images without classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pretask.data.images.containers import SPLITS, FileImages, LabelledImages, RawData
from pretask.data.images.decode import IMAGE_SUFFIXES
from pretask.data.labels import check_same_classes
from pretask.errors import PretaskError

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_LAYOUT = "put each class's images in a folder of the class's name"


@dataclass
class Tree:
    """Class folders under one folder: the images of each, by the class folder's relative path."""

    classes: dict[str, list[str]] = field(default_factory=dict)
    barren: dict[str, str] = field(default_factory=dict)
    """Folders that hold neither images nor folders, with what they do hold."""


def read_folder(folder: Path) -> RawData:
    """Read the images below `folder`; every folder that directly holds images is a class.

    A class below nested folders is called by its path: "Balinese/character01".

    Raises:
        PretaskError: there are no images, images outside class folders, fewer than two classes, an empty
            class folder, or splits with different classes.
    """
    top = unwrapped(folder)
    split_folders = {sub.name: _SPLITS[sub.name.lower()] for sub in _subfolders(top) if _is_split(sub)}
    trees = _scan_splits(top, split_folders) if split_folders else {"train": (top, scan(top))}
    for where, tree in trees.values():
        _check_tree(where, tree)
    class_names = tuple(sorted(trees["train"][1].classes))
    for name in class_names:
        _check_text(folder, name)
    for split, (_, tree) in trees.items():
        check_same_classes(set(class_names), set(tree.classes), split, str(folder))
    if len(class_names) < 2:
        raise PretaskError(
            f"{folder} has one class only ('{class_names[0]}'): a classifier needs images of at least two, "
            f"each in a folder of its own"
        )
    splits = {split: labelled_files(top, where, tree, class_names) for split, (where, tree) in trees.items()}
    return RawData(folder.resolve().name, splits, class_names)


def labelled_files(top: Path, where: Path, tree: Tree, class_names: Iterable[str]) -> LabelledImages:
    """Return the images of `tree`, found below `where`, with paths relative to `top`."""
    prefix = "" if where == top else f"{where.relative_to(top).as_posix()}/"
    paths, labels = [], []
    for label, name in enumerate(class_names):
        found = tree.classes.get(name, [])
        paths += [f"{prefix}{name}/{file}" for file in found]
        labels += [label] * len(found)
    return LabelledImages(FileImages(top, paths), torch.tensor(labels, dtype=torch.int64))


def scan(folder: Path) -> Tree:
    """Find every folder that directly holds images, in sorted order; hidden ones are left out."""
    tree = Tree()
    try:
        _scan_into(folder, "", tree, set())
    except RecursionError:
        raise PretaskError(f"{folder} has folders too deep in one another: {_LAYOUT}") from None
    return tree


def _scan_into(folder: Path, relative: str, tree: Tree, seen: set[str]) -> None:
    real = os.path.realpath(folder)
    if real in seen:  # a link back to a folder above
        return
    seen.add(real)
    images, others, folders = [], [], []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if _is_hidden(entry.name):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif _suffix(entry.name) in IMAGE_SUFFIXES:
                images.append(entry.name)
            else:
                others.append(_suffix(entry.name))
    if images:
        tree.classes[relative] = images
    elif not folders:
        commonest = Counter(others).most_common(1)
        tree.barren[relative] = commonest[0][0] if commonest else ""
    for name in folders:
        _scan_into(folder / name, f"{relative}/{name}" if relative else name, tree, seen)


def _scan_splits(top: Path, split_folders: dict[str, str]) -> dict[str, tuple[Path, Tree]]:
    repeated = [split for split, count in Counter(split_folders.values()).items() if count > 1]
    if repeated:
        raise PretaskError(f"{top} has several folders for {repeated[0]} images: keep one")
    if "train" not in split_folders.values():
        found = ", ".join(split_folders)
        raise PretaskError(f"{top} has a folder {found} but none called train: add or rename one")
    for sub in _subfolders(top):
        if sub.name not in split_folders and scan(sub).classes:
            allowed = "train, validation and test"
            raise PretaskError(f"{sub} holds images beside {allowed} folders: move it into one or elsewhere")
    by_split = {split: top / name for name, split in split_folders.items()}
    order = [split for split in SPLITS if split in by_split]
    return {split: (by_split[split], scan(by_split[split])) for split in order}


def _check_tree(where: Path, tree: Tree) -> None:
    if "" in tree.classes:
        beside = " beside its folders" if len(tree.classes) > 1 else " and not in class folders"
        raise PretaskError(f"images lie directly in {where}{beside} ({tree.classes[''][0]}): {_LAYOUT}")
    if not tree.classes and ".zip" in tree.barren.values():
        raise PretaskError(
            f"{where} holds .zip files and no images: unpack them and give the unpacked folder"
        )
    if not tree.classes:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise PretaskError(f"{where} holds no images ({known}): {_LAYOUT}")
    for name, holds in tree.barren.items():
        kinds = f" ({holds} is no known kind)" if holds else ""
        raise PretaskError(
            f"class folder {where / name} holds no images{kinds}: add some or remove the folder"
        )


def _check_text(folder: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 stand in names as halves of characters
        raise PretaskError(
            f"the name of class folder {folder / name} is not UTF-8: rename the folder"
        ) from None


def unwrapped(folder: Path) -> Path:
    """Go down through folders that hold nothing but one folder, as archives often unpack to."""
    while True:
        inside = [entry for entry in folder.iterdir() if not _is_hidden(entry.name)]
        if len(inside) != 1 or not inside[0].is_dir() or _is_split(inside[0]):
            return folder
        if any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in inside[0].iterdir()):
            return folder
        folder = inside[0]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(sub for sub in folder.iterdir() if sub.is_dir() and not _is_hidden(sub.name))


def _is_split(folder: Path) -> bool:
    return folder.is_dir() and folder.name.lower() in _SPLITS


def _suffix(name: str) -> str:
    """Return ".png" for "a.PNG"; pathlib's way takes seconds for a million names."""
    _, dot, suffix = name.rpartition(".")
    return dot and f".{suffix.lower()}"


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


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
