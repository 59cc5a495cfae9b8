"""Hugging Face data sets, through the optional package `datasets`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pretask.data.images.containers import SPLITS, RawData, check_has_images, split_of
from pretask.data.readers.columns import Column, TableSplit, choose_columns, item_bytes, labelled_tables
from pretask.errors import PretaskError, import_extra


class HubItems:
    """Encoded images of a `datasets.Dataset`, read from its memory-mapped files when asked for."""

    def __init__(self, dataset: Any, column: str, origin: str, folders: Sequence[Path] | None) -> None:
        self.dataset = dataset
        self.column = column
        self.origin = origin
        self.folders = folders

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> bytes:
        return item_bytes(self.dataset[i][self.column], self.folders, f"row {i} of {self.origin}")


def read_hub(name: str) -> RawData:
    """Read "owner/name" or "owner/name:configuration" from the hub, or from its local cache.

    Raises:
        MissingExtra: `datasets` is not installed.
        PretaskError: there is no such data set, no network, or no usable columns.
    """
    datasets = import_extra("datasets", "hub", "a Hugging Face data set")
    owner_name, _, configuration = name.partition(":")
    try:
        found = datasets.load_dataset(owner_name, configuration or None)
    except (OSError, ValueError, RuntimeError, EOFError) as fault:
        reason = str(fault).split("\n", 1)[0].rstrip(". ")
        raise PretaskError(
            f"cannot load hf:{name} ({reason}): check the name and the network, or give downloaded files"
        ) from fault
    return read_hub_object(found, owner_name, _cache_folders())


def is_saved_dataset(folder: Path) -> bool:
    """Whether `folder` was written by `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file()


def read_saved_dataset(folder: Path) -> RawData:
    """Read what `save_to_disk` wrote; raises as `read_hub` does."""
    datasets = import_extra("datasets", "hub", f"{folder}, a saved Hugging Face data set,")
    return read_hub_object(datasets.load_from_disk(str(folder)), folder.resolve().name, (folder,))


def is_hub_object(source: Any) -> bool:
    return type(source).__module__.split(".", 1)[0] == "datasets"


def read_hub_object(source: Any, name: str, folders: Sequence[Path] | None = None) -> RawData:
    """Read a `datasets.Dataset`, which is all train images, or a `DatasetDict`.

    Args:
        source: the object.
        name: of the data set.
        folders: below which image files must lie that rows point to; None, for an object of the caller's own, lets in
            any.

    Raises:
        PretaskError: there is no train split, or no usable columns.
    """
    datasets = import_extra("datasets", "hub", "a Hugging Face data set")
    parts = source if isinstance(source, Mapping) else {"train": source}
    tables: dict[str, Any] = {}
    for key in sorted(parts, key=lambda key: key not in SPLITS):  # "train" before "train_extra"
        split = split_of(str(key))
        if split is not None:
            tables.setdefault(split, parts[key])
    check_has_images(tables, name)
    image, label = choose_columns(_columns(tables["train"], datasets), name)
    order = [split for split in SPLITS if split in tables]
    splits = {}
    for split in order:
        table, origin = tables[split], f"the {split} split"
        encoded = table.select_columns([image.name]).cast_column(image.name, datasets.Image(decode=False))
        labels = list(table.select_columns([label.name])[label.name])
        splits[split] = TableSplit(HubItems(encoded, image.name, origin, folders), labels, origin)
    return labelled_tables(splits, label.class_names, name)


def _cache_folders() -> tuple[Path, ...]:
    """Return where the Hub's libraries keep what they fetch."""
    from huggingface_hub import constants

    known = (constants.HF_HOME, constants.HF_HUB_CACHE, os.environ.get("HF_DATASETS_CACHE"))
    return tuple(Path(folder) for folder in known if folder)


def _columns(dataset: Any, datasets: ModuleType) -> list[Column]:
    return [_column(name, feature, datasets) for name, feature in dataset.features.items()]


def _column(name: str, feature: Any, datasets: ModuleType) -> Column:
    if isinstance(feature, datasets.Image):
        return Column(name, "image")
    if isinstance(feature, datasets.ClassLabel):
        return Column(name, "class", tuple(feature.names))
    dtype = str(getattr(feature, "dtype", ""))
    if dtype.startswith(("int", "uint", "bool")):
        return Column(name, "integer")
    return Column(name, "string" if dtype in ("string", "large_string") else "other")
