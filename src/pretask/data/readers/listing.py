"""A table of text, .csv or .tsv, that lists image files, their labels and perhaps their splits."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pretask.data.images.containers import SPLITS, FileImages, LabelledImages, RawData, check_has_images
from pretask.data.labels import encode_labels
from pretask.data.readers.folder import SPLIT_NAMES, UNLABELLED
from pretask.errors import PretaskError
from pretask.io.files import check_regular

LIST_SUFFIXES = (".csv", ".tsv")
FILE_COLUMNS = (
    *("file", "filename", "file_name", "filepath", "file_path", "path"),
    *("image", "images", "image_path", "image_file", "image_name", "img", "img_path", "picture", "photo"),
)
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "y")
SPLIT_COLUMNS = ("split", "subset")
_MOST_SHOWN, _LONGEST = 20, 200
"""Columns that an error names, and characters of a cell."""


@dataclass(frozen=True)
class _Row:
    number: int
    file: str
    label: str
    split: str


def read_list(path: Path, labelled: bool = True) -> RawData:
    """Read a list of image files: one row each, with a column of files, one of labels and perhaps one of splits.

    Columns are found by their names, and separated by commas, semicolons or tabs. Paths are relative to the list's
    folder. Labels are class names as they are written, in the order of the numbers where all are whole numbers.

    Args:
        path: of the list, UTF-8.
        labelled: False takes a list without labels too, whose images then are all of one class.

    Raises:
        PretaskError: a column, a file or a label is missing, a split is unknown, or there is one class only.
    """
    rows = _read_rows(path, labelled)
    _check_files(path, rows)
    by_split = {split: [row for row in rows if row.split == split] for split in SPLITS}
    by_split = {split: found for split, found in by_split.items() if found}
    check_has_images(by_split, str(path))
    if any(row.label for row in rows):
        labels, names = _encoded({s: [row.label for row in found] for s, found in by_split.items()}, path)
    else:
        labels = {s: torch.zeros(len(found), dtype=torch.int64) for s, found in by_split.items()}
        names = (UNLABELLED,)
    splits = {
        split: LabelledImages(FileImages(path.parent, [row.file for row in found]), labels[split])
        for split, found in by_split.items()
    }
    return RawData(path.stem, splits, names)


def _encoded(labels: dict[str, list[str]], path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    encoded, names = encode_labels(labels, str(path))
    if not all(_is_whole(name) for name in names):
        return encoded, names
    order = sorted(range(len(names)), key=lambda label: int(names[label]))
    new_label = torch.empty(len(names), dtype=torch.int64)
    new_label[order] = torch.arange(len(names))
    return {s: new_label[column] for s, column in encoded.items()}, tuple(names[label] for label in order)


def _is_whole(name: str) -> bool:
    return len(name) < 20 and name.removeprefix("-").isdecimal()


def _read_rows(path: Path, labelled: bool) -> list[_Row]:
    try:
        check_regular(path)
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header = lines.readline()
            lines.seek(0)
            reader = csv.reader(lines, delimiter=max(",;\t", key=header.count))
            names = [name.strip() for name in next(reader, [])]
            file = _column(names, FILE_COLUMNS, "files", path)
            label = _column(names, LABEL_COLUMNS, "labels", path) if labelled else _find(names, LABEL_COLUMNS)
            split = _find(names, SPLIT_COLUMNS)
            cells = ((i, row) for i, row in enumerate(reader, start=2) if any(map(str.strip, row)))
            return [
                _Row(
                    number,
                    _path(path.parent, _cell(path, number, row, file, "file")),
                    "" if label is None else _cell(path, number, row, label, "label"),
                    "train"
                    if split is None
                    else _split(path, number, _cell(path, number, row, split, "split")),
                )
                for number, row in cells
            ]
    except UnicodeDecodeError as fault:
        raise PretaskError(f"cannot read {path} (it is not UTF-8): save it as CSV UTF-8") from fault
    except csv.Error as fault:
        raise PretaskError(f"cannot read {path} ({fault}): save it as CSV UTF-8") from fault


def _find(names: Sequence[str], usual: Sequence[str]) -> int | None:
    plain = [name.lower().replace(" ", "_").replace("-", "_") for name in names]
    return next((plain.index(name) for name in usual if name in plain), None)


def _column(names: Sequence[str], usual: Sequence[str], what: str, path: Path) -> int:
    found = _find(names, usual)
    if found is None:
        has = ", ".join(f"'{_bounded(name)}'" for name in names[:_MOST_SHOWN]) or "none"
        has += f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
        raise PretaskError(f"{path} has no column of {what} (columns: {has}): call one '{usual[0]}'")
    return found


def _cell(path: Path, number: int, row: Sequence[str], column: int, what: str) -> str:
    text = row[column].strip() if column < len(row) else ""
    if not text:
        raise PretaskError(f"row {number} of {path} has no {what}: add it or remove the row")
    return text


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _split(path: Path, number: int, name: str) -> str:
    if name.lower() not in SPLIT_NAMES:
        raise PretaskError(
            f"row {number} of {path} has the unknown split '{_bounded(name)}': use train, validation or test"
        )
    return SPLIT_NAMES[name.lower()]


def _check_files(path: Path, rows: Sequence[_Row]) -> None:
    missing = [row for row in rows if not _is_file(path.parent / row.file)]
    if missing:
        first = f"{_bounded(str(path.parent / missing[0].file))} in row {missing[0].number}"
        many = (
            f"{len(missing):,} files that are missing, the first of them"
            if len(missing) > 1
            else "a missing file,"
        )
        raise PretaskError(f"{path} lists {many} {first}: paths are relative to the folder of the list")


def _path(folder: Path, text: str) -> str:
    """Return a path with the slashes of this system where the list was written on another."""
    return text.replace("\\", "/") if "\\" in text and not _is_file(folder / text) else text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
