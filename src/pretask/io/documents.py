"""YAML, JSON and CSV: read with bounds, checked, written whole; JSON sealed with a checksum."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pretask.errors import PretaskError, printable
from pretask.io.files import check_regular, write_json

JSON_BYTES = 256 * 2**20
"""More than the largest study writes."""
YAML_BYTES = 64 * 2**10
"""More than any settings take; PyYAML reads about a hundred kilobytes in a second."""
MOST_LEVELS = 32
_LARGEST_NUMBER = 2**63
_LONGEST_REASON = 300


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        remedy: what helps where it is damaged, for the error.

    Raises:
        PretaskError: no such file, not JSON, too large or too deep.
    """
    try:
        content = json.loads(_read_text(path, JSON_BYTES))
        _check_depth(content, MOST_LEVELS)
    except (OSError, ValueError, RecursionError) as error:
        raise PretaskError(f"cannot read {path} ({one_line(error)}): {remedy}") from None
    return content


def read_json_object(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON file that holds names and values; see `read_json`."""
    content = read_json(path, remedy)
    if not isinstance(content, dict):
        raise PretaskError(f"cannot read {path} (it holds no names and values): {remedy}")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a flat YAML mapping.

    Raises:
        PretaskError: no such file, not YAML, too large, or not a mapping.
    """
    if not path.is_file():
        raise PretaskError(
            f"no configuration file {path}: give a YAML file, or a recipe's name with --recipe"
        )
    try:
        text = _read_text(path, YAML_BYTES)
    except (OSError, ValueError) as error:
        raise PretaskError(f"{path} is not valid YAML: {one_line(error)}") from None
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        raise PretaskError(f"{path} must hold `key: value` lines, one per setting")
    return content


def parse_yaml(text: str, what: str) -> Any:
    """Return the plain values that a YAML text holds: no anchors, tags or numbers of more than 64 bits.

    Args:
        text: to be read.
        what: how it is called in an error.

    Raises:
        PretaskError: it is not such YAML.
    """
    try:
        content = yaml.load(text, _PlainLoader)
        _check_depth(content, MOST_LEVELS)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise PretaskError(f"{what} is not valid YAML: {one_line(error)}") from None
    return content


def one_line(error: Exception) -> str:
    """Return what an error says, on one line and not too long."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} …"


class _PlainLoader(yaml.SafeLoader):
    """Reads settings. Anchors can make a small file grow without bound, and tags name types; neither is a setting."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        parser: Any = self  # whose methods have no types
        event = parser.peek_event()
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise yaml.composer.ComposerError(
                None, None, "anchors, aliases (& and *) and tags (!) are not settings", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_number(self, node: yaml.ScalarNode) -> int:
        value: int = self.construct_yaml_int(node)
        if abs(value) >= _LARGEST_NUMBER:
            raise yaml.constructor.ConstructorError(
                None, None, "a whole number has more than 64 bits", node.start_mark
            )
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_number)


def _read_text(path: Path, limit: int) -> str:
    size = check_regular(path).st_size
    if size > limit:
        raise ValueError(f"it has {size:,} bytes, more than {limit:,}")
    return path.read_text(encoding="utf-8")


def _check_depth(content: Any, levels: int) -> None:
    """Refuse what is nested so deep that code which walks through it would fail."""
    if not isinstance(content, dict | list):
        return
    if levels == 0:
        raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels")
    for value in content.values() if isinstance(content, dict) else content:
        _check_depth(value, levels - 1)


CHECKSUM = "checksum"
"""The key of the checksum. A file without it is read as it is."""


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write names and values as JSON with their checksum, at once or not at all."""
    write_json(path, {**content, CHECKSUM: _checksum(content)})


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """Return what `write_sealed` wrote, without the checksum.

    Args:
        path: the file.
        remedy: what helps where it is damaged, for the error.

    Raises:
        PretaskError: no such file, not JSON, or content that its checksum does not fit.
    """
    content = read_json_object(path, remedy)
    written = content.pop(CHECKSUM, None)
    if written is not None and written != _checksum(content):
        raise PretaskError(f"cannot read {path} (its content does not fit its checksum): {remedy}")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content as it comes back from JSON."""
    as_read = json.loads(json.dumps(content, allow_nan=False))
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


_FORMULA = ("=", "+", "-", "@", "'")  # the apostrophe itself too, so that reading undoes writing


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV, a line each, ended by "\\n"; cells that are numbers stay as they are.

    Others are made harmless: an apostrophe stands before what a spreadsheet would compute, `read_csv` takes it away;
    what would command a terminal, or end a line, is written as an escape.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [_neutral(printable(cell)) for cell in row] for row in rows
    )
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
