"""CSV that a spreadsheet opens without harm: text that it would take for a formula is written with an apostrophe."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pretask.errors import PretaskError

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # the apostrophe itself too, so that reading undoes writing


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV, lines ended by "\\n"; cells that are numbers stay as they are."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_neutral(cell) for cell in row] for row in rows)
    return text.getvalue()


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each line below the header, and its cells by column, as they were before `csv_text`.

    Args:
        path: of the file.
        columns: that it must have; others are left out.

    Raises:
        PretaskError: it cannot be read, or a column or a cell is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise PretaskError(f"{path} has no column {missing[0]}: a runs.csv has {', '.join(columns)}")
            for row in reader:
                cells = {name: row[name] for name in columns}
                if None in cells.values():
                    raise PretaskError(
                        f"{path}, line {reader.line_num}: cells are missing, {len(columns)} needed"
                    )
                yield reader.line_num, {name: _original(cell) for name, cell in cells.items()}
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else fault
        raise PretaskError(f"cannot read {path} ({reason}): give a runs.csv of a study") from None


def _neutral(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) and not _is_number(cell) else cell


def _original(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
