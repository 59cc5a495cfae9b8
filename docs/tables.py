"""Puts the tables of docs/results into their pages again, each from its CSV: python docs/tables.py

A page has them between two comments, the first of which is the command that prints what stands there.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_PLACE = re.compile(r"(<!-- (pretask table [^\n]+) -->\n).*?(\n<!-- end -->)", re.S)


def with_tables(text: str) -> str:
    """Return the text of a page with what its commands print now."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{_printed(found[2])}{found[3]}", text)


def _printed(command: str) -> str:
    asked = [sys.executable, "-m", *shlex.split(command), "--format", "markdown"]
    return subprocess.run(asked, cwd=RESULTS, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for page in sorted(RESULTS.glob("*.md")):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
