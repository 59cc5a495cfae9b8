"""CSV that a spreadsheet opens without harm: text that it would take for a formula is written with an apostrophe."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from pretask.errors import PretaskError

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # the apostrophe itself too, so that reading undoes writing


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV, lines ended by "\\n"; cells that are numbers stay as they are."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_neutral(cell) for cell in row] for row in rows)
    return text.getvalue()


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header of a CSV file and the rows below it, the cells as they were before `csv_text`.

    Raises:
        PretaskError: it cannot be read, is empty, or a row has more or fewer cells than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[_original(cell) for cell in row] for row in csv.reader(file, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else fault
        raise PretaskError(
            f"cannot read {path} ({reason}): give a CSV file, such as the runs.csv of a study"
        ) from None
    if not rows:
        raise PretaskError(f"{path} is empty: give a CSV file, such as the runs.csv of a study")
    for place, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise PretaskError(f"{path}, row {place + 1}: {len(row)} cells under {len(rows[0])} headings")
    return rows[0], rows[1:]


def _neutral(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) and not is_number(cell) else cell


def _original(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def is_number(cell: str) -> bool:
    """Whether a cell is a number and nothing else."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
