"""Which pictures belong together, as those of one person or scene: by a column of a list, or by their file names."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from pretask.checks.pictures import Pictures
from pretask.data.readers.listing import FILE_COLUMNS, LIST_SUFFIXES
from pretask.errors import PretaskError

MOST_SHARE = 0.2
"""Of the pictures, above which what names share says nothing."""
_COUNTER = re.compile(r"(.*\d.*?)[\s_.()-]+(?:[A-Za-z]{0,6}\d{1,6}|[A-Za-z]{1,10})[\s)]*")


def groups_of_names(pictures: Pictures) -> dict[int, str]:
    """Return the group of each picture whose file name shows one.

    A name shows a group where a counter stands at its end, after a separator, and what stands before it has a digit
    itself: "person12_virus_47" and "person12_virus_48" are of the group "person12_virus", "IM-0115-0001" of "IM-0115";
    "frame_000123" is of none, for its number alone counts. The counter is up to 6 digits, with up to 6 letters before
    them, or a word, as in "site3_left". A group of more than a fifth of all pictures is none, and neither is one in
    which a name stands twice: then the numbers of each folder begin anew.
    """
    names: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for i in range(len(pictures)):
        stem = PurePosixPath(pictures.name(i)).stem
        if found := _COUNTER.fullmatch(stem):
            names[found[1]].append((stem, i))
    most = MOST_SHARE * len(pictures)
    return {
        i: group
        for group, members in names.items()
        if 1 < len(members) <= most and len({stem for stem, _ in members}) == len(members)
        for _, i in members
    }


def groups_of_column(source: str | Path, column: str, pictures: Pictures) -> dict[int, str]:
    """Return the group of each picture by a column of the list that names them; empty cells are no group.

    Raises:
        PretaskError: the data is no list, or the list has no such column.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() not in LIST_SUFFIXES:
        raise PretaskError(
            f"--group {column} is a column of a list of files, and {source} is none: give a .csv, or drop --group"
        )
    with path.open(encoding="utf-8-sig", newline="") as lines:
        header = lines.readline()
        lines.seek(0)
        rows = [row for row in csv.reader(lines, delimiter=max(",;\t", key=header.count)) if row]
    names = [_plain(name) for name in rows[0]]
    if _plain(column) not in names:
        shown = ", ".join(f"'{name.strip()}'" for name in rows[0][:20])
        raise PretaskError(
            f"{path} has no column '{column}' (columns: {shown}): type one of them after --group"
        )
    group = names.index(_plain(column))
    file = next(names.index(name) for name in FILE_COLUMNS if name in names)
    by_file = {
        row[file].strip().replace("\\", "/"): row[group].strip()
        for row in rows[1:]
        if len(row) > max(file, group)
    }
    found = ((i, by_file.get(pictures.name(i).replace("\\", "/"), "")) for i in range(len(pictures)))
    return {i: name for i, name in found if name}


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
