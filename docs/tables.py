"""Puts the tables of docs/results into their pages again, each from its CSV: python docs/tables.py

A page has them between two comments, the first of which is the command that prints what stands there.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

from pretask.cli.main import main

RESULTS = Path(__file__).parent / "results"
_PLACE = re.compile(r"(<!-- (pretask table [^\n]+) -->\n).*?(\n<!-- end -->)", re.S)


def with_tables(text: str) -> str:
    """Return the text of a page with what its commands print now."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{_printed(found[2])}{found[3]}", text)


def _printed(command: str) -> str:
    _, *asked = shlex.split(command)
    with contextlib.chdir(RESULTS), contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            main([*asked, "--format", "markdown"])  # here, or each command would import for seconds
        except SystemExit as left:
            if left.code != 0:
                raise
    return printed.getvalue()


if __name__ == "__main__":
    for page in sorted(RESULTS.glob("*.md")):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
