"""Parquet files with encoded images, in the layout that the Hugging Face Hub uses."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretask.data.decode import unreadable
from pretask.data.raw import SPLITS, RawData, check_has_images, split_of
from pretask.data.readers.columns import Column, TableSplit, choose_columns, item_bytes, labelled_tables
from pretask.documents import one_line
from pretask.errors import PretaskError

_FAULTS = (OSError, ValueError, pa.ArrowException)  # ValueError: names that are no UTF-8


class ArrowItems:
    """Cells of a column as bytes, without a copy of the column."""

    def __init__(self, column: pa.ChunkedArray, folder: Path, origin: str) -> None:
        self.chunks = column.chunks
        self.starts = [0, *accumulate(len(chunk) for chunk in self.chunks)]
        self.folder = folder
        self.origin = origin

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, i: int) -> bytes:
        chunk = bisect_right(self.starts, i) - 1
        what = f"row {i} of {self.origin}"
        try:
            cell = self.chunks[chunk][i - self.starts[chunk]].as_py()
        except _FAULTS as fault:
            raise unreadable(what, fault) from fault
        return item_bytes(cell, (self.folder,), what)


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """Return the parquet files in `folder`, or in its folders, by split; empty where there are none.

    A file's split is told by the start of its name, or else of its folder's. Files that tell nothing are all
    train images.

    Raises:
        PretaskError: some files tell their split and others do not; or none is for training.
    """
    files = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*/*.parquet"))
    found: dict[str | None, list[Path]] = {}
    for file in files:
        below = file.parent.name if file.parent != folder else ""
        found.setdefault(split_of(file.name) or split_of(below), []).append(file)
    unknown = found.pop(None, [])
    if not found:
        return {"train": unknown} if unknown else {}
    if unknown:
        raise PretaskError(
            f"cannot tell which split {unknown[0]} is: name it train…, valid… or test…, or move it elsewhere"
        )
    tables: dict[str, list[Path]] = {split: found[split] for split in SPLITS if split in found}
    check_has_images(tables, str(folder))
    return tables


def read_tables(tables: Mapping[str, Sequence[Path]], name: str, folder: Path) -> RawData:
    """Read parquet files by split; images stay encoded.

    Class names come from the schema's metadata, or from string labels.

    Raises:
        PretaskError: a file is broken, or has no image or label column; labels are faulty.
    """
    schema = _schema(tables["train"][0])
    image, label = choose_columns(_columns(schema), str(tables["train"][0]))
    splits = {}
    for split, files in tables.items():
        table = _read(files, [image.name, label.name])
        origin = files[0].name if len(files) == 1 else f"the {split} files"
        items = ArrowItems(table[image.name], folder, origin)
        splits[split] = TableSplit(items, _label_values(table[label.name]), origin)
    return labelled_tables(splits, label.class_names, name)


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except _FAULTS as fault:
        raise _broken(file, fault) from fault


def _read(files: Sequence[Path], columns: list[str]) -> pa.Table:
    tables = []
    for file in files:
        missing = set(columns) - set(_schema(file).names)
        if missing:
            raise PretaskError(f"{file} has no column '{min(missing)}', which other files of the set have")
        try:
            tables.append(pq.read_table(file, columns=columns))
        except _FAULTS as fault:
            raise _broken(file, fault) from fault
    return pa.concat_tables(tables, promote_options="permissive")


def _broken(file: Path, fault: Exception) -> PretaskError:
    reason = one_line(fault).rstrip(". ")
    return PretaskError(f"cannot read {file} ({reason}): it is damaged or no parquet file; fetch it again")


def _label_values(column: pa.ChunkedArray) -> Any:
    return column.to_pylist() if column.null_count or not _is_number(column.type) else column.to_numpy()


def _columns(schema: pa.Schema) -> list[Column]:
    features = _features(schema)
    return [_column(field, features.get(field.name, {})) for field in schema]


def _column(field: pa.Field, feature: Any) -> Column:
    declared = feature.get("_type") if isinstance(feature, dict) else None
    if declared == "ClassLabel":
        return Column(field.name, "class", _class_names(feature))
    if declared == "Image" or _holds_bytes(field.type):
        return Column(field.name, "image")
    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        return Column(field.name, "string")
    if pa.types.is_dictionary(field.type) and pa.types.is_string(field.type.value_type):
        return Column(field.name, "string")
    return Column(field.name, "integer" if _is_number(field.type) else "other")


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What the `datasets` library wrote about the columns, {} where nothing can be read."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _class_names(feature: dict[str, Any]) -> tuple[str, ...]:
    names = feature.get("names", ())
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
