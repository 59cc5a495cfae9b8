"""An .npz file in MedMNIST's layout: train_images, train_labels, val_images, …."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pretask.data.raw import RawData
from pretask.data.readers.arrays import read_arrays
from pretask.errors import PretaskError

_KEYS = {"train": "train", "validation": "val", "test": "test"}


def read_npz(path: Path) -> RawData:
    """Read `train_images` (n, H, W) or (n, H, W, 3) and `train_labels` (n, 1) or (n,); val, test alike.

    Raises:
        PretaskError: the file is broken, holds pickled objects, or lacks arrays.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            pairs = {
                split: (arrays[f"{key}_images"], arrays[f"{key}_labels"])
                for split, key in _KEYS.items()
                if _has_split(arrays, key, path)
            }
            found = ", ".join(arrays.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as fault:
        reason = str(fault).split("\n", 1)[0].rstrip(".")
        raise PretaskError(f"cannot read {path} ({reason}): write it with numpy.savez, no objects") from fault
    if "train" not in pairs:
        raise PretaskError(f"{path} has arrays {found or 'none'}: train_images and train_labels are needed")
    return replace(read_arrays(pairs, path.name), name=path.stem)


def _has_split(arrays: Any, key: str, path: Path) -> bool:
    present = [name in arrays.files for name in (f"{key}_images", f"{key}_labels")]
    if any(present) and not all(present):
        missing = "labels" if present[0] else "images"
        raise PretaskError(f"{path} lacks the array {key}_{missing}: images and labels are needed together")
    return all(present)
