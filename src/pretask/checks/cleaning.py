"""A cleaned list of the pictures, for `--data`; no picture is deleted or moved."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pretask.checks import findings as kinds
from pretask.checks.findings import Finding
from pretask.checks.pictures import Pictures
from pretask.errors import PretaskError
from pretask.io.files import write_atomically


@dataclass(frozen=True)
class Cleaned:
    """A list that was written.

    Attributes:
        path: of the list.
        kept: pictures on it.
        unreadable, copies: pictures that were left out.
        without: classes of which no training picture is left.
    """

    path: Path
    kept: int
    unreadable: int
    copies: int
    without: Sequence[str]

    @property
    def words(self) -> str:
        """What was left out, in a line."""
        return f"{self.path}: {self.kept:,} pictures, without {self.unreadable:,} unreadable and {self.copies:,} copies"


def check_writable(path: Path, pictures: Pictures) -> None:
    """Refuse a list that could not be written, before the work begins.

    Raises:
        PretaskError: the pictures are no files or have no labels, something is at the path, or it is no .csv.
    """
    if not pictures.in_files:
        raise PretaskError(
            f"--apply writes a list of files, and the pictures of {pictures.raw.name} are no files: drop --apply"
        )
    if not pictures.labelled:
        raise PretaskError(
            f"--apply writes a list of files and labels, and {pictures.raw.name} has no labels: drop --apply"
        )
    if path.suffix.lower() != ".csv":
        raise PretaskError(f"--apply {path} is not called .csv: type --apply {path.with_suffix('.csv')}")
    if path.exists():
        raise PretaskError(f"--apply {path} is there already: type another name, or remove it")


def write_cleaned(path: Path, found: Sequence[Finding], pictures: Pictures) -> Cleaned:
    """Write a list of all pictures but unreadable ones and copies that leak.

    Of copies in two splits the picture that is tested on stays (`Pictures.rank`). Without test pictures a split is yet
    to be drawn: of copies in one class the first stays. Copies in two classes of one split stay, for a person to
    decide.
    """
    leaking = {kinds.COPY_SPLITS, kinds.NEAR_SPLITS}
    if "test" not in pictures.splits:
        leaking |= {kinds.COPY, kinds.NEAR}
    unreadable = {one.picture for one in found if one.kind == kinds.UNREADABLE}
    copies = {one.picture for one in found if one.kind in leaking}
    rows = [i for i in range(len(pictures)) if i not in unreadable | copies]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "label", "split"))
    for i in rows:
        writer.writerow((_relative(pictures.path(i), path.parent), pictures.label(i), pictures.split(i)))
    write_atomically(path, lambda draft: draft.write_text(text.getvalue(), encoding="utf-8"))
    left = {pictures.label(i) for i in rows if pictures.split(i) == "train"}
    without = [name for name in pictures.class_names if name not in left]
    return Cleaned(path, len(rows), len(unreadable), len(copies), without)


def _relative(file: Path, folder: Path) -> str:
    """Return a path as the list has it: relative to its folder, absolute where they are on different drives."""
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:
        return file.resolve().as_posix()
