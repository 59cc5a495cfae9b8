"""Parquet files with encoded images, in the layout that the Hugging Face Hub uses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretask.data.raw import RawData
from pretask.data.readers.columns import Column, TableSplit, choose_columns, labelled_tables
from pretask.data.readers.row_groups import FAULTS, RowGroups, TableFile, damaged, read_footers
from pretask.errors import PretaskError


def read_tables(tables: Mapping[str, Sequence[TableFile]], name: str, folder: Path | None) -> RawData:
    """Read parquet files by split; labels at once, images by row groups as they are asked for.

    Class names come from the schema's metadata, or from string labels.

    Args:
        tables: files by split.
        name: of the data set.
        folder: what the paths in cells are relative to; None where cells may name no files.

    Raises:
        PretaskError: a file is broken, or has no image or label column; labels are faulty.
    """
    footers = {split: read_footers(files) for split, files in tables.items()}
    first = tables["train"][0]
    image, label = choose_columns(_columns(_schema(first, footers["train"][0])), str(first))
    splits = {}
    for split, files in tables.items():
        _check_columns(files, footers[split], {image.name, label.name})
        origin = files[0].name if len(files) == 1 else f"the {split} files"
        items = RowGroups(files, image.name, folder, origin, footers[split])
        labels = RowGroups(files, label.name, folder, origin, footers[split])
        splits[split] = TableSplit(items, _label_values(labels.cells()), origin, items.blocks())
    return labelled_tables(splits, label.class_names, name)


def _schema(file: TableFile, footer: pq.FileMetaData) -> pa.Schema:
    try:
        return footer.schema.to_arrow_schema()
    except FAULTS as fault:
        raise damaged(file, fault) from fault


def _check_columns(files: Sequence[TableFile], footers: Sequence[pq.FileMetaData], columns: set[str]) -> None:
    for file, footer in zip(files, footers, strict=True):
        names = _schema(file, footer).names
        missing, doubled = columns - set(names), {name for name in columns if names.count(name) > 1}
        if missing:
            raise PretaskError(f"{file} has no column '{min(missing)}', which other files of the set have")
        if doubled:
            raise PretaskError(
                f"{file} has more than one column '{min(doubled)}': give each a name of its own"
            )


def _label_values(parts: Sequence[pa.ChunkedArray]) -> Any:
    """Return the labels of all row groups, as an array or a list."""
    tables = [pa.table({"label": part}) for part in parts]
    if not tables:
        return []
    column = pa.concat_tables(tables, promote_options="permissive")["label"]
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
