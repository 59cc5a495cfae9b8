"""Which parquet files a data set consists of, by split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TypeVar

from pretask.data.raw import SPLITS, check_has_images, split_of
from pretask.errors import PretaskError

P = TypeVar("P", bound=PurePath)

_SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)\b")


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """Return the parquet files in `folder`, or in its folders, by split; empty where there are none.

    A file's split is told by the start of its name, or else of its folder's. Files that tell nothing are all
    train images.

    Raises:
        PretaskError: some files tell their split and others do not; none is for training; one of several that belong
            together is missing.
    """
    files = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*/*.parquet"))
    return tables_of(files, folder)


def tables_of(files: Sequence[P], folder: P) -> dict[str, list[P]]:
    """Return the parquet files of a folder, wherever it is, by split; see `find_tables`."""
    _check_complete(files)
    return _by_split(files, folder)


def is_pattern(path: Path) -> bool:
    """Tell whether a path stands for several files, as in "pets/train-*.parquet"."""
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
    """Tell whether a path holds what stands for any letters."""
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
            f"cannot tell which split {unknown[0]} is: name it train…, valid… or test…, or move it elsewhere"
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
