"""Folders of images: a folder for each class, or images without classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pretask.data.images.containers import SPLITS, FileImages, LabelledImages, RawData
from pretask.data.images.decode import IMAGE_SUFFIXES, UNREAD
from pretask.data.labels import check_same_classes
from pretask.errors import PretaskError

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What folders of splits, and cells that say one, may be called, in lower case."""
_NAMED = 10
_MADE = ({".lock"}, {".locks"}, {"config.yaml", "environment.json"}, {"model.json", "README.md"})
"""Files of which one set lies in every folder that a run, a study or an export has made."""
_LAYOUT = "put each class's images in a folder of the class's name"

_ALONG = frozenset((
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".db", ".md", ".yaml", ".yml", ".ini", ".log", ".html",
    "readme", "license",
))  # fmt: skip
"""Suffixes and names of files that go along with images; the names are in lower case."""


@dataclass
class Tree:
    """Class folders under one folder: the images of each, by the class folder's relative path."""

    classes: dict[str, list[str]] = field(default_factory=dict)
    barren: dict[str, str] = field(default_factory=dict)
    """Folders that hold neither images nor folders, with what they do hold."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Files of each suffix that is not read, without those that go along with images, such as lists and notes."""
    repeated: list[str] = field(default_factory=list)
    """Links to folders that are read under another name, or that hold the link."""
    made: list[str] = field(default_factory=list)
    """Folders of runs, studies and exports, whose pictures are no data."""


def read_folder(folder: Path) -> RawData:
    """Read the images below `folder`; every folder that directly holds images is a class.

    A class below nested folders is called by its path: "Balinese/character01".

    Raises:
        PretaskError: there are no images, images outside class folders, fewer than two classes, an empty
            class folder, or splits with different classes.
    """
    top = unwrapped(folder)
    split_folders = _split_folders(top)
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
    return RawData(
        folder.resolve().name, splits, class_names, notes=left_out(tree for _, tree in trees.values())
    )


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
    """Find every folder that directly holds images, in sorted order.

    Links to files and folders are followed; a folder is read once, whatever leads to it. What is hidden is left out.
    """
    tree = Tree()
    try:
        _scan_into(folder, "", tree, set())
    except RecursionError:
        raise PretaskError(f"{folder} has folders too deep in one another: {_LAYOUT}") from None
    return tree


def _scan_into(folder: Path, relative: str, tree: Tree, seen: set[str]) -> None:
    real = os.path.realpath(folder)
    if real in seen:
        tree.repeated.append(relative)
        return
    seen.add(real)
    images, others, folders = [], [], []
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
        names = {entry.name for entry in entries}
        if any(signs <= names for signs in _MADE):
            tree.made.append(relative)
            return
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif _suffix(entry.name) in IMAGE_SUFFIXES:
                images.append(entry.name)
            else:
                others.append(_suffix(entry.name))
                if not _goes_along(entry.name):
                    tree.left_out[others[-1]] += 1
    if images:
        tree.classes[relative] = images
    elif not folders:
        commonest = Counter(others).most_common(1)
        tree.barren[relative] = commonest[0][0] if commonest else ""
    for name in folders:
        _scan_into(folder / name, f"{relative}/{name}" if relative else name, tree, seen)


def _split_folders(top: Path) -> dict[str, str]:
    """Return the split of each folder that is called like one; none where these are classes among others.

    They are classes where folders of other names hold images too, and theirs lie in them directly.
    """
    found = {sub.name: SPLIT_NAMES[sub.name.lower()] for sub in _subfolders(top) if _is_split(sub)}
    if not found:
        return {}
    sisters = (sub for sub in _subfolders(top) if sub.name not in found)
    if not any(scan(sub).classes for sub in sisters) or not all(_is_flat(top / name) for name in found):
        return found
    return {}


def _is_flat(folder: Path) -> bool:
    tree = scan(folder)
    return {*tree.classes, *tree.barren} <= {""}


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
        known = f"which are {', '.join(sorted(IMAGE_SUFFIXES))}"
        found = f", but {_counted(tree.left_out)}" if tree.left_out else ""
        raise PretaskError(f"{where} holds no images ({known}){found}: {_LAYOUT}")
    for name, holds in tree.barren.items():
        kinds = f" ({UNREAD.get(holds, f'{holds} is no known kind')})" if holds else ""
        raise PretaskError(
            f"class folder {where / name} holds no images{kinds}: add some or remove the folder"
        )


def left_out(trees: Iterable[Tree]) -> tuple[str, ...]:
    """Return what is to be said of the files and folders that are left out, a line for each kind."""
    found = list(trees)
    files = sum((tree.left_out for tree in found), Counter[str]())
    links = [name for tree in found for name in tree.repeated]
    notes = []
    if files:
        what = "file that is no known picture" if files.total() == 1 else "files that are no known picture"
        notes.append(f"left out {files.total():,} {what}: {_counted(files)}")
    if links:
        what = "link to a folder that is" if len(links) == 1 else "links to folders that are"
        more = f" and {len(links) - _NAMED:,} more" if len(links) > _NAMED else ""
        notes.append(f"left out {len(links):,} {what} read elsewhere: {', '.join(links[:_NAMED])}{more}")
    if made := [name for tree in found for name in tree.made]:
        what = "folder that holds" if len(made) == 1 else "folders that hold"
        first = made[0] or "the folder itself"
        notes.append(f"left out {len(made):,} {what} a run, a study or an export, the first of them {first}")
    return tuple(notes)


def _counted(suffixes: Counter[str]) -> str:
    """Return ".heic 7, .mp4 2", with what would help to read them."""
    counts = ", ".join(f"{suffix or 'no suffix'} {count:,}" for suffix, count in suffixes.most_common())
    return "; ".join((counts, *dict.fromkeys(UNREAD[suffix] for suffix in suffixes if suffix in UNREAD)))


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
    return folder.is_dir() and folder.name.lower() in SPLIT_NAMES


def _suffix(name: str) -> str:
    """Return ".png" for "a.PNG"; pathlib's way takes seconds for a million names."""
    _, dot, suffix = name.rpartition(".")
    return dot and f".{suffix.lower()}"


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _goes_along(name: str) -> bool:
    return name.lower() in _ALONG or _suffix(name) in _ALONG


UNLABELLED = "unlabelled"
"""The name of the one class of a data set without labels."""


def is_unlabelled(folder: Path) -> bool:
    """Whether images lie directly in `folder`, or all in one folder below it."""
    tree = scan(unwrapped(folder))
    return "" in tree.classes or len(tree.classes) == 1


def read_unlabelled(folder: Path) -> RawData:
    """Read all images below `folder` as train images of one class."""
    top = unwrapped(folder)
    tree = scan(top)
    paths = [f"{place}/{name}" if place else name for place, names in tree.classes.items() for name in names]
    labels = torch.zeros(len(paths), dtype=torch.int64)
    train = LabelledImages(FileImages(top, paths), labels)
    return RawData(folder.resolve().name, {"train": train}, (UNLABELLED,), notes=left_out([tree]))
