"""Data sets by kind: what lies at a path decides how it is read."""

from __future__ import annotations

from pathlib import Path

from pretask.data.images.containers import RawData
from pretask.data.images.decode import IMAGE_SUFFIXES
from pretask.data.readers.arrays import read_npz
from pretask.data.readers.folder import is_unlabelled, read_folder, read_unlabelled
from pretask.data.readers.hub import is_saved_dataset, read_saved_dataset
from pretask.data.readers.listing import LIST_SUFFIXES, read_list
from pretask.data.readers.table import find_tables, is_pattern, match_tables, read_tables
from pretask.errors import PretaskError

KINDS = (
    "a folder of class folders, a .csv file of files and labels, a .parquet file or a folder of them, an .npz file, "
    "or hf:OWNER/NAME for a data set on the Hugging Face Hub (hf://datasets/OWNER/NAME to leave it there)"
)
"""What a data set can be."""

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


def read_path(path: Path, labelled: bool = True) -> RawData:
    """Read the data set at a path, or that a pattern of parquet files names; with `labelled=False` a folder needs no
    class folders, and a list no labels.

    Raises:
        PretaskError: there is nothing, it is of no known kind, or what it holds is faulty.
    """
    if is_pattern(path):
        tables = match_tables(path)
        folder = tables["train"][0].parent
        return read_tables(tables, folder.resolve().name, folder)
    if not path.exists():
        raise PretaskError(f"no file or folder {path}: give {KINDS}")
    if path.is_dir():
        return _read_directory(path, labelled)
    suffix = path.suffix.lower()
    if suffix in LIST_SUFFIXES:
        return read_list(path, labelled)
    if suffix == ".npz":
        return read_npz(path)
    if suffix == ".parquet":
        return read_tables({"train": [path]}, path.stem, path.parent)
    if suffix in _ARCHIVES:
        raise PretaskError(f"{path} is an archive: unpack it and give the folder")
    if suffix in IMAGE_SUFFIXES:
        raise PretaskError(f"{path} is one image: give a folder with a folder of images for each class")
    raise PretaskError(
        f"{path} is no data set: give a folder of class folders, a .csv, .parquet or .npz file"
    )


def _read_directory(path: Path, labelled: bool) -> RawData:
    if is_saved_dataset(path):
        return read_saved_dataset(path)
    tables = find_tables(path)
    if tables:
        return read_tables(tables, path.resolve().name, path)
    if not labelled and is_unlabelled(path):
        return read_unlabelled(path)
    return read_folder(path)
