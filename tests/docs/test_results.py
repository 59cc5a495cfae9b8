"""The tables of docs/results are what their commands print, and nothing but pages and small CSVs is kept there."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
import tomllib

import pytest
from doc_pages import DOCS, ROOT, name_of

RESULTS = DOCS / "results"
PAGES = sorted(RESULTS.glob("*.md"))
SHIPPED_ROWS = 400_000
"""Bytes of the largest CSV; a study has some 50 kB."""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_are_made_from_their_rows(page):
    made = runpy.run_path(str(DOCS / "tables.py"))["with_tables"](page.read_text())
    assert made == page.read_text(), "type: python docs/tables.py"
    assert "<!-- pretask table " in made
    assert made.count("<!-- pretask table ") == made.count("<!-- end -->")


def test_a_table_is_what_the_shell_prints():
    text = (RESULTS / "random-kills.md").read_text()
    ((command, table),) = re.findall(r"<!-- (pretask table [^\n]+) -->\n\n(.*?)\n<!-- end -->", text, re.S)
    typed = [sys.executable, "-m", *shlex.split(command), "--format", "markdown"]
    done = subprocess.run(typed, cwd=RESULTS, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (table, "")


def test_every_table_has_its_page_and_every_page_its_table():
    named = [name for page in PAGES for name in re.findall(r"<!-- pretask table (\S+) -->", page.read_text())]
    kept = sorted(path.name for path in RESULTS.iterdir() if path.suffix != ".md")
    assert sorted(named) == kept
    assert max(path.stat().st_size for path in RESULTS.iterdir()) < SHIPPED_ROWS


def test_results_are_not_shipped():
    sdist = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    assert "docs/results" in sdist["exclude"]
