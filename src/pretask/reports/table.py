"""One table for terminal, Markdown, CSV and HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pretask.errors import printable
from pretask.io.documents import csv_text
from pretask.reports.html import NOTHING, Html, join, page, tag

if TYPE_CHECKING:
    from rich.console import Console

Format = Literal["markdown", "csv", "html"]
_GAP = 2
_LEAST_WIDTH = 12
"""Words are not folded to fewer letters than this."""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: its heading.
        words: whether it holds words, which are aligned left and may be folded; numbers are aligned right.
        key: whether it says what a row is about; it is repeated where a table continues below.
        spare: 0 for a column that is always shown; where a terminal is narrow, the largest are left out first.
    """

    name: str
    words: bool = False
    key: bool = False
    spare: int = 0


@dataclass(frozen=True)
class Cell:
    """A cell that is more than its text.

    Attributes:
        text: as it is printed; empty where there is nothing to say.
        sort: by what a page sorts its column; by the text where None.
        look: CSS class of the text in a page, such as "up", "down" or "none".
        markup: what a page shows in place of the text.
    """

    text: str
    sort: float | None = None
    look: str = ""
    markup: Html | None = None


@dataclass(frozen=True)
class Table:
    """Rows of text under headings, which print themselves wherever they are wanted.

    Attributes:
        title: one line; none where empty.
        columns: headings and their kinds.
        rows: a cell for each column, plain text or `Cell`.
        note: how to read it.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Cell]]
    note: str = ""

    def terminal(self, console: Console) -> None:
        """Print the table no wider than the console.

        Words are folded first, then columns with a `spare` are left out and named; where that is not enough, nothing
        is left out, and the table continues below with its key columns again.
        """
        shown, widths = self._fitting(console.width)
        if self.title:
            console.print(printable(self.title), style="bold", highlight=False, markup=False)
        for block in _blocks(self.columns, shown, widths, console.width):
            self._print(block, widths, console)
        left_out = [column.name for place, column in enumerate(self.columns) if place not in shown]
        notes = [f"Left out to fit: {', '.join(left_out)}."] if left_out else []
        for note in (*notes, *filter(None, (self.note,))):
            console.print(printable(note), style="dim", highlight=False, markup=False)

    def markdown(self, level: int = 3) -> str:
        """Return the table under a heading of a level, its note below it."""
        lines = [
            "| " + " | ".join(column.name for column in self.columns) + " |",
            "|" + "".join("---|" if column.words else "---:|" for column in self.columns),
            *(
                "| " + " | ".join(printable(cell).replace("|", r"\|") for cell in row) + " |"
                for row in self._texts()
            ),
        ]
        heading = f"{'#' * level} {self.title}\n\n" if self.title else ""
        return f"{heading}{chr(10).join(lines)}\n" + (f"\n{self.note}\n" if self.note else "")

    def csv(self) -> str:
        """Return headings and cells as CSV, without title and note."""
        return csv_text([[column.name for column in self.columns], *self._texts()])

    def html(self, sortable: bool = True) -> Html:
        """Return the table for a page, which has its own headings: the note stands above it.

        Args:
            sortable: whether a press on a heading sorts the rows.
        """
        kinds = [None if column.words else "number" for column in self.columns]
        head = [
            tag("th", column.name, scope="col", class_=kind)
            for column, kind in zip(self.columns, kinds, strict=True)
        ]
        body = [
            tag("tr", *(self._html_cell(place, cell) for place, cell in enumerate(row))) for row in self.rows
        ]
        drawn = tag(
            "table",
            tag("thead", tag("tr", *head)),
            tag("tbody", *body),
            class_="sortable" if sortable else None,
        )
        above = tag("p", self.note, class_="caption") if self.note else Html()
        return join([above, tag("div", drawn, class_="scroll", tabindex="0")])

    def _html_cell(self, place: int, given: str | Cell) -> Html:
        cell = given if isinstance(given, Cell) else Cell(given)
        words = self.columns[place].words
        text = cell.text if words else re.sub(r"-(?=[\d.])", "\N{MINUS SIGN}", cell.text) or NOTHING
        shown = cell.markup or (tag("span", text, class_=cell.look) if cell.look else text)
        sort = None if cell.sort is None else f"{cell.sort:.9g}"
        if place == 0:
            return tag("th", shown, scope="row", data_sort=sort)
        return tag("td", shown, class_=None if words else "number", data_sort=sort)

    def _texts(self) -> list[list[str]]:
        """Return the cells as they are printed, outside pages with ASCII signs and nothing for what is unknown."""
        plain = str.maketrans({"\N{MINUS SIGN}": "-"})
        texts = [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in self.rows]
        return [["" if text == NOTHING else text.translate(plain) for text in row] for row in texts]

    def _fitting(self, limit: int) -> tuple[list[int], list[int]]:
        """Return the places of the columns that are shown, and the widths of all."""
        from rich.cells import cell_len

        texts = self._texts()
        widths = [
            max(
                *(cell_len(row[place]) for row in texts),
                *(cell_len(word) for word in (column.name or " ").split(" ")),
                1,
            )
            for place, column in enumerate(self.columns)
        ]
        most = max(_LEAST_WIDTH, limit // 4)
        folded = [min(w, most) if c.words else w for c, w in zip(self.columns, widths, strict=True)]
        shown = list(range(len(self.columns)))
        stay = [place for place in shown if not self.columns[place].spare]
        while stay != shown and _total(stay, folded) <= limit < _total(shown, folded):
            shown.remove(max(shown, key=lambda place: (self.columns[place].spare, place)))
        for place in shown:  # what is free unfolds words again
            free = max(0, limit - _total(shown, folded))
            folded[place] = min(widths[place], folded[place] + free)
        return shown, folded

    def _print(self, places: Sequence[int], widths: Sequence[int], console: Console) -> None:
        from rich import box
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False)
        for place in places:
            column = self.columns[place]
            grid.add_column(
                Text(printable(column.name)),
                justify="left" if column.words else "right",
                width=widths[place],
                overflow="fold",
                vertical="top",
            )
        for row in self._texts():
            grid.add_row(*(Text(printable(row[place])) for place in places))
        console.print(grid)


def print_tables(tables: Sequence[Table], console: Console) -> None:
    """Print tables below each other; a note that several share stands below the last of them."""
    for place, table in enumerate(_notes_once(tables)):
        if place:
            console.print()
        table.terminal(console)


def markdown_tables(tables: Sequence[Table], level: int = 3) -> str:
    """Return tables in Markdown, as `print_tables` has them."""
    return "\n".join(table.markdown(level) for table in _notes_once(tables))


def write_tables(tables: Sequence[Table], kind: Format, title: str = "") -> str:
    """Return tables below each other as Markdown, as CSV (each below its title), or as a whole page with a title."""
    if kind == "markdown":
        return markdown_tables(tables)
    if kind == "csv":
        return "\n".join((csv_text([[table.title]]) if table.title else "") + table.csv() for table in tables)
    parts = [join([tag("h2", table.title) if table.title else "", table.html()]) for table in tables]
    return page(title, *parts)


def _notes_once(tables: Sequence[Table]) -> list[Table]:
    later = [{table.note for table in tables[place + 1 :]} for place in range(len(tables))]
    return [replace(t, note="") if t.note in notes else t for t, notes in zip(tables, later, strict=True)]


def _total(places: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[place] + _GAP for place in places) - _GAP


def _blocks(
    columns: Sequence[Column], shown: Sequence[int], widths: Sequence[int], limit: int
) -> list[list[int]]:
    """Return the columns of each part of a table, so that every part fits where it can."""
    keys = [place for place in shown if columns[place].key]
    blocks = [list(keys)]
    for place in shown:
        if place in keys:
            continue
        if blocks[-1] != keys and _total([*blocks[-1], place], widths) > limit:
            blocks.append(list(keys))
        blocks[-1].append(place)
    return [sorted(block) for block in blocks]
