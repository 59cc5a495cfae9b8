"""Rows of a benchmark in a CSV file, added as they are made, so that a benchmark that was stopped goes on."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows that are there."""
    return list(csv.DictReader(path.open())) if path.exists() else []


def append(path: Path, columns: Sequence[str], row: Mapping[str, Any]) -> None:
    """Add a row, with the names of the columns before the first."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerow(row)
