"""Which column of a table holds the images and which the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretask.data.images.containers import LabelledImages, RawData
from pretask.data.images.decode import read_file, unreadable
from pretask.data.images.stores import Blocks, ByteItems, EncodedImages
from pretask.data.labels import check_count, encode_labels
from pretask.errors import PretaskError

_IMAGE_NAMES = ("image", "img", "images", "picture", "photo")
_LABEL_NAMES = ("label", "labels", "fine_label", "target", "class", "y")


@dataclass(frozen=True)
class Column:
    """A column and what its type says: "image", "class" (with names), "integer", "string" or "other"."""

    name: str
    kind: str
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSplit:
    """The two columns of a split, as they are read, and which images are read together."""

    items: ByteItems
    labels: Any
    origin: str
    blocks: Blocks | None = None


def choose_columns(columns: Sequence[Column], where: str) -> tuple[Column, Column]:
    """Return the image column and the label column.

    Raises:
        PretaskError: there is none, or several and none has a usual name.
    """
    image = _choose(columns, ("image",), _IMAGE_NAMES, "image", where)
    rest = [column for column in columns if column.name != image.name]
    kinds = ("class",) if any(column.kind == "class" for column in rest) else ("integer", "string")
    return image, _choose(rest, kinds, _LABEL_NAMES, "label", where)


def labelled_tables(splits: Mapping[str, TableSplit], class_names: Sequence[str], name: str) -> RawData:
    """Make `RawData` of table splits; one without labels (all -1, as in contests) is left out."""
    kept = {split: table for split, table in splits.items() if split == "train" or not _unlabelled(table)}
    notes = tuple(f"{split}: left out, it has no labels" for split in splits if split not in kept)
    labels, names = encode_labels({s: table.labels for s, table in kept.items()}, name, class_names)
    found = {}
    for split, table in kept.items():
        check_count(len(table.items), len(labels[split]), f"{split} of {name}")
        images = EncodedImages(table.items, origin=table.origin, blocks=table.blocks)
        found[split] = LabelledImages(images, labels[split])
    return RawData(name, found, names, notes=notes)


def item_bytes(item: Any, folders: Sequence[Path] | None, what: str) -> bytes:
    """Return the encoded image of a table cell: bytes, or a struct of bytes and path.

    Args:
        item: the cell.
        folders: below which a file must lie that the cell points to, the first being what paths are relative to; None
            lets in any, () none.
        what: how the cell is called in an error.

    Raises:
        UnreadableImageError: the cell is empty, or the file that it points to lies elsewhere or cannot be read.
    """
    if isinstance(item, Mapping):
        path = item.get("path")
        if item.get("bytes") is None and isinstance(path, str) and path:
            return _pointed(path, folders, what)
        item = item.get("bytes")
    if not isinstance(item, bytes):
        raise unreadable(what, "the cell is empty")
    return item


def _pointed(path: str, folders: Sequence[Path] | None, what: str) -> bytes:
    named = f"{path}, which {what} points to"
    if "\0" in path:
        raise unreadable(named, "no file can be called so")
    if folders is not None and not folders:
        raise unreadable(named, "of a set that is read from the Hub nothing is read but its parquet files")
    found = (folders[0] / path if folders else Path(path)).resolve()
    if folders is not None and not any(found.is_relative_to(folder.resolve()) for folder in folders):
        raise unreadable(named, f"it is not below {folders[0]}/")
    return read_file(found, named)


def _choose(
    columns: Sequence[Column], kinds: Sequence[str], usual: Sequence[str], role: str, where: str
) -> Column:
    fitting = [column for column in columns if column.kind in kinds]
    if len(fitting) == 1:
        return fitting[0]
    for name in usual:
        for column in fitting:
            if column.name == name:
                return column
    found = ", ".join(f"{column.name} ({column.kind})" for column in columns) or "none"
    wrong = "several columns could be" if fitting else "no column is"
    raise PretaskError(f"{wrong} the {role} column of {where} (columns: {found}): name one '{usual[0]}'")


def _unlabelled(table: TableSplit) -> bool:
    labels = list(table.labels)
    return bool(labels) and all(label == -1 or label is None for label in labels)
