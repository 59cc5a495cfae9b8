"""One table, printed four ways."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from pretask.errors import PretaskError
from pretask.io.documents import csv_text, read_csv
from pretask.reports.html import Html
from pretask.reports.table import Cell, Column, Table

COLUMNS = (
    Column("method", words=True, key=True),
    Column("inference", words=True, key=True),
    Column("length", spare=1),
    Column("top-1 %"),
    Column("difference [95 % CI]"),
    Column("ECE %", spare=2),
)
ROWS = (
    ("baseline", "single", "4 epochs", "54.94 ± 0.54", "", "28.51 ± 0.73"),
    (
        "gssl:gate=fixed:gate_weights=2,1,1",
        "single",
        "4 epochs",
        "50.10 ± 0.25",
        Cell("-4.85 [-6.17, -3.53]", -4.85, "down"),
        "23.13 ± 0.16",
    ),
)
TABLE = Table("Equal epochs", COLUMNS, ROWS, "mean ± standard deviation")


def printed(table: Table, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True, legacy_windows=False)
    table.terminal(console)
    return console.export_text().splitlines()


def test_a_wide_terminal_shows_all_of_it_in_one_line_per_row():
    lines = printed(TABLE, 160)
    assert lines[0] == "Equal epochs" and lines[-1] == "mean ± standard deviation"
    assert [" ".join(line.split()) for line in lines[-3:-1]] == [
        "baseline single 4 epochs 54.94 ± 0.54 28.51 ± 0.73",
        "gssl:gate=fixed:gate_weights=2,1,1 single 4 epochs 50.10 ± 0.25 -4.85 [-6.17, -3.53] 23.13 ± 0.16",
    ]


@pytest.mark.parametrize("width", [60, 80, 86, 100, 120])
def test_a_narrow_terminal_cuts_nothing_short(width):
    lines = printed(TABLE, width)
    text = " ".join(lines)
    assert max(map(len, lines)) <= width
    for cell in ("54.94 ± 0.54", "-4.85 [-6.17, -3.53]"):
        assert cell in text
    left_out = text.partition("Left out to fit: ")[2].partition(".")[0]
    assert left_out == {60: "", 80: "ECE %", 86: "ECE %", 100: "", 120: ""}[width]
    assert "…" not in text


def test_a_table_too_wide_goes_on_below_with_its_keys_and_all_of_it():
    lines = printed(TABLE, 50)
    assert not any("Left out" in line for line in lines)
    starts = [" ".join(line.split()) for line in lines if line.startswith(("method", "baseline"))]
    assert starts == [
        "method inference length top-1 %",
        "baseline single 4 epochs 54.94 ± 0.54",
        "method inference difference [95 % CI]",
        "baseline single",
        "method inference ECE %",
        "baseline single 28.51 ± 0.73",
    ]


def test_words_are_folded_no_more_than_they_must():
    table = Table("", COLUMNS[:2], [("a" * 30, "single")])
    assert printed(table, 41)[2].rstrip() == "a" * 30 + "  single"
    assert printed(table, 40)[2].startswith("a" * 29 + "  single")


def test_markdown_keeps_its_columns_whatever_a_cell_holds():
    table = Table("Results", (Column("method", words=True), Column("x")), [("a|b", Cell("1"))], "a note")
    assert table.markdown() == "### Results\n\n| method | x |\n|---|---:|\n| a\\|b | 1 |\n\na note\n"
    assert Table("", COLUMNS[:1], []).markdown() == "| method |\n|---|\n"


def test_csv_has_every_cell():
    rows = list(csv.reader(io.StringIO(TABLE.csv())))
    assert rows[0] == [column.name for column in COLUMNS]
    assert rows[1] == list(ROWS[0])
    assert rows[2][4] == "'-4.85 [-6.17, -3.53]"


def test_a_page_gets_signs_sort_keys_looks_and_markup():
    drawn = TABLE.html()
    assert '<th scope="row">baseline</th><td>single</td><td class="number">4 epochs</td>' in drawn
    assert '<td class="number">–</td>' in drawn
    shown = '<span class="down">−4.85 [−6.17, −3.53]</span>'
    assert f'<td class="number" data-sort="-4.85">{shown}</td>' in drawn
    assert '<p class="caption">mean ± standard deviation</p>' in drawn and 'class="sortable"' in drawn
    bar = Table("", COLUMNS[:1], [(Cell("<50 %", markup=Html("<i></i>")),), ("<b>",)])
    assert bar.html(sortable=False).count("sortable") == 0
    assert "<i></i>" in bar.html() and "&lt;b&gt;" in bar.html() and "50" not in bar.html()


CELLS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-lr",
    "@x",
    "'quoted",
    "\tx",
    "a\x1b[2Jb\u2028c\nd",
    "plain",
    "-0.5",
    "1e-07",
    "a,b",
    'a"b',
    "",
]


def test_formulas_are_text_in_a_spreadsheet_and_read_back_as_they_were(tmp_path):
    text = csv_text([["cell", "other"], *([cell, "x"] for cell in CELLS)])
    written = [row[0] for row in csv.reader(io.StringIO(text))][1:]
    assert (
        all(cell[:1] not in ("=", "+", "@", "\t") for cell in written)
        and len(text.split("\n")) == len(CELLS) + 2
    )
    assert [cell for cell in written if cell.startswith("-")] == ["-0.5"], "a number is a number"
    path = tmp_path / "cells.csv"
    path.write_text("\ufeff" + text)  # a spreadsheet marks its UTF-8, which is no part of a heading
    header, rows = read_csv(path)
    assert header == ["cell", "other"]
    assert [cell for cell, _ in rows] == [
        {"\tx": r"\tx", "a\x1b[2Jb\u2028c\nd": r"a\x1b[2Jb\u2028c\nd"}.get(cell, cell) for cell in CELLS
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("a,b\n1\n", "row 2: 1 cells under 2 headings"), ('a,b\n"1', "cannot read")],
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(PretaskError, match=message):
        read_csv(path)
    with pytest.raises(PretaskError, match=r"cannot read .*No such file"):
        read_csv(tmp_path / "none.csv")
