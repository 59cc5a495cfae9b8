"""Parquet files: which ones belong together, and what they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pretask.data.images.containers import SPLITS, RawData, check_has_images, split_of
from pretask.data.readers.columns import Column, TableSplit, choose_columns, labelled_tables
from pretask.data.readers.row_groups import FAULTS, RowGroups, TableFile, damaged, read_footers
from pretask.errors import PretaskError

P = TypeVar("P", bound=PurePath)

_SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)\b")


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """Return the parquet files in `folder`, or in its folders, by split; empty where there are none.

    A file's split is found from the start of its name, or else of its folder's. Files that say nothing are all
    train images.

    Raises:
        PretaskError: some files say their split and others do not; none is for training; one of several that belong
            together is missing.
    """
    files = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*/*.parquet"))
    return tables_of(files, folder)


def tables_of(files: Sequence[P], folder: P) -> dict[str, list[P]]:
    """Return the parquet files of a folder, wherever it is, by split; see `find_tables`."""
    _check_complete(files)
    return _by_split(files, folder)


def is_pattern(path: Path) -> bool:
    """Whether a path stands for several files, as in "pets/train-*.parquet"."""
    return has_wildcard(path) and not path.exists()


def match_tables(pattern: Path) -> dict[str, list[Path]]:
    """Return the parquet files that a pattern names, by split; see `find_tables`. Those named need not be all.

    Raises:
        PretaskError: there is none, or another kind of file among them; or as `find_tables` does.
    """
    return named_tables(sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))), pattern)


def named_tables(files: Sequence[P], pattern: P) -> dict[str, list[P]]:
    """Return the files that a pattern names, wherever they are, by split; see `match_tables`."""
    others = [file for file in files if file.suffix.lower() != ".parquet"]
    if others:
        raise PretaskError(f"{pattern} names {others[0]}, which is no .parquet file: patterns are for these")
    if not files:
        raise PretaskError(f"no file is named by {pattern}: check the pattern and the folder")
    return _by_split(files, pattern)


def has_wildcard(path: PurePath) -> bool:
    """Whether a path holds a wildcard."""
    return bool(set("*?[") & set(str(path)))


def _by_split(files: Sequence[P], where: P) -> dict[str, list[P]]:
    found: dict[str | None, list[P]] = {}
    for file in files:
        below = (
            file.parent.name if has_wildcard(where.parent) or file.parent not in (where, where.parent) else ""
        )
        found.setdefault(split_of(file.name) or split_of(below), []).append(file)
    unknown = found.pop(None, [])
    if not found:
        return {"train": unknown} if unknown else {}
    if unknown:
        raise PretaskError(
            f"the name of {unknown[0]} does not say its split: call it train…, valid… or test…, or move it elsewhere"
        )
    tables = {split: found[split] for split in SPLITS if split in found}
    check_has_images(tables, str(where))
    return tables


def _check_complete(files: Sequence[PurePath]) -> None:
    """Refuse "train-00000-of-00003.parquet" without its two fellows."""
    shards: dict[tuple[str, str], set[int]] = {}
    for file in files:
        if found := _SHARD.match(str(file)):
            shards.setdefault((found[1], found[3]), set()).add(int(found[2]))
    for (name, total), numbers in shards.items():
        missing = sorted(set(range(int(total))) - numbers)
        if missing:
            first = f"{name}-{missing[0]:0{len(total)}}-of-{total}.parquet"
            raise PretaskError(
                f"{len(missing)} of {int(total)} files are missing, the first of them {first}: fetch the rest, or "
                f"give those that are there as '{name}-*.parquet'"
            )


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
