"""The bounds that the page on safety names are those of the code."""

from __future__ import annotations

import re

from doc_pages import DOCS, rows

from pretask.data.images import decode
from pretask.data.readers import row_groups
from pretask.io import documents, redaction

PAGE = (DOCS / "safety.md").read_text()
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
BOUNDS = {
    "a picture's file": decode.MAX_BYTES,
    "a picture": decode.MAX_PIXELS,
    "row groups of a parquet file kept at hand": row_groups.OPEN_BYTES,
    "a JSON file": documents.JSON_BYTES,
    "a YAML file": documents.YAML_BYTES,
    "the nesting of JSON and YAML": documents.MOST_LEVELS,
    "a whole number in YAML": documents._LARGEST_NUMBER,
}


def number(text: str) -> int | None:
    """Return what "64 KiB …", "2^63, …" or "1,234 pixels" counts; None where it is no number."""
    found = re.match(r"([\d,]*\d)(?:\^(\d+))? ?(\w+)?", text)
    if not found:
        return None
    return int(found[1].replace(",", "")) ** int(found[2] or 1) * UNITS.get(found[3], 1)


def test_bounds():
    told = {of: number(most) for of, most in rows(DOCS / "safety.md", "of")}
    assert {of: count for of, count in told.items() if count is not None} == BOUNDS
    assert [of for of, count in told.items() if count is None] == [
        "the arrays of an `.npz` file, unpacked",
        "a network that a `model.json` names",
        "a network to train",
    ]


def test_formats_and_lengths():
    (formats,) = re.findall(r"opened as one of ([A-Z, ]+ and [A-Z]+),", PAGE)
    told = set(re.split(r", | and ", formats))
    assert told == {*decode.FORMATS, "AVIF", "HEIF"}, "the last two where they are installed"
    assert f"of {redaction._SHORTEST} characters or more" in PAGE
    assert f"stand `{redaction.HIDDEN}` in place" in PAGE
