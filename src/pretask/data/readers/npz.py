"""An .npz file in MedMNIST's layout: train_images, train_labels, val_images, …."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pretask.data.images.containers import RawData
from pretask.data.images.survey import physical_memory
from pretask.data.readers.arrays import read_arrays
from pretask.errors import PretaskError
from pretask.io.documents import one_line
from pretask.io.files import check_regular

_KEYS = {"train": "train", "validation": "val", "test": "test"}
_FAULTS = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    NotImplementedError,  # what zipfile raises for a compression that it does not know
    RuntimeError,  # … and for one that is encrypted
    tokenize.TokenError,  # what numpy raises for some headers
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path) -> RawData:
    """Read `train_images` (n, H, W) or (n, H, W, 3) and `train_labels` (n, 1) or (n,); val, test alike.

    Raises:
        PretaskError: the file is broken, holds pickled objects, lacks arrays, or is larger than the memory.
    """
    try:
        _check_archive(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            pairs = {
                split: (arrays[f"{key}_images"], arrays[f"{key}_labels"])
                for split, key in _KEYS.items()
                if _has_split(arrays, key, path)
            }
            found = ", ".join(arrays.files)
    except _FAULTS as fault:
        reason = one_line(fault).rstrip(".")
        raise PretaskError(f"cannot read {path} ({reason}): write it with numpy.savez, no objects") from fault
    if "train" not in pairs:
        raise PretaskError(f"{path} has arrays {found or 'none'}: train_images and train_labels are needed")
    return replace(read_arrays(pairs, path.name), name=path.stem)


def _check_archive(path: Path) -> None:
    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > physical_memory():  # a small archive can tell of any size
        raise PretaskError(
            f"{path} unpacks to {size / 2**30:,.1f} GiB, more than the memory of this machine: "
            "keep the images as files, in a folder of each class's name"
        )


def _has_split(arrays: Any, key: str, path: Path) -> bool:
    present = [name in arrays.files for name in (f"{key}_images", f"{key}_labels")]
    if any(present) and not all(present):
        missing = "labels" if present[0] else "images"
        raise PretaskError(f"{path} lacks the array {key}_{missing}: images and labels are needed together")
    return all(present)
