"""Builds self-contained HTML pages: every text is escaped, and nothing is loaded from anywhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path

from pretask.io.files import write_atomically

NOTHING = "–"
VOID = ("img", "input")
"""Elements that hold nothing and are not closed."""


class Html(str):
    """Markup that is ready to be put into a page; any other string is text and gets escaped."""


def join(parts: Iterable[str]) -> Html:
    """Return the parts one after the other, escaping those that are text."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def tag(name: str, *children: str, **attributes: str | None) -> Html:
    """Return an element; an attribute's trailing underscore is dropped, others become hyphens; None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    text_columns: int = 1,
    class_: str | None = "sortable",
) -> Html:
    """Return a table that scrolls sideways in a narrow window, and that a press on a heading sorts.

    Args:
        header: one heading per column.
        rows: cells, text or `Html`; the first of each row is its heading.
        caption: stands above the table.
        text_columns: how many columns, from the left, are words; the others are figures, aligned right.
        class_: a class for the table; rows keep their order in any but "sortable".
    """

    def kind(column: int) -> str | None:
        return None if column < text_columns else "figure"

    head = [tag("th", cell, scope="col", class_=kind(i)) for i, cell in enumerate(header)]
    body = [
        tag(
            "tr",
            *(
                tag("th", cell, scope="row") if i == 0 else tag("td", cell, class_=kind(i))
                for i, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    inner = tag("thead", tag("tr", *head)) + tag("tbody", *body)
    above = tag("p", caption, class_="caption") if caption else Html()
    return join([above, tag("div", tag("table", Html(inner), class_=class_), class_="scroll", tabindex="0")])


def figure(chart: Html, caption: str) -> Html:
    """Return a chart with its caption below."""
    return tag("figure", chart, tag("figcaption", caption))


def figures(*charts: Html) -> Html:
    """Return charts side by side where the window is wide enough."""
    return tag("div", *charts, class_="figures")


def legend(entries: Iterable[tuple[str, str]]) -> Html:
    """Return names with their colours, given as (name, CSS class of the swatch)."""
    items = [tag("li", tag("span", class_=f"swatch {swatch}"), name) for name, swatch in entries]
    return tag("ul", *items, class_="legend")


def facts(pairs: Mapping[str, object]) -> Html:
    """Return a list of names and values; nested mappings are flattened, empty values left out."""
    rows = [tag("dt", name) + tag("dd", value) for name, value in _flat(pairs)]
    return tag("dl", Html("".join(rows)), class_="facts")


def command(line: str) -> Html:
    """Return a command as it is typed; a narrow window breaks it between its words alone."""
    words = [tag("span", word) for word in line.split(" ")]
    return tag("pre", *(part for word in words for part in (word, " ")))


def section(title: str, *body: str) -> Html:
    """Return a part of the page under its heading."""
    return tag("section", tag("h2", title), *body)


def notice(text: str) -> Html:
    """Return a warning that cannot be overlooked."""
    return tag("p", text, class_="notice", role="note")


def page(title: str, *body: str) -> str:
    """Return a whole document; its security policy forbids every request, and every script but the page's own."""
    style, script = (
        (files("pretask.reports") / name).read_text(encoding="utf-8") for name in ("style.css", "page.js")
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src 'unsafe-inline'; img-src data:; script-src '{_digest(script)}'\">\n"
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{join(body)}\n</main>\n<script>{script}</script>\n"
        "</body>\n</html>\n"
    )


def _digest(script: str) -> str:
    """Return by which the security policy knows the page's own script, and lets in no other."""
    return f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"


def write_page(path: Path, document: str) -> Path:
    """Write a document in one step, so that a reader never meets half of it; its folder is made.

    Raises:
        PretaskError: the disk is full, or the folder cannot be written.
    """
    write_atomically(path, lambda draft: draft.write_text(document, encoding="utf-8"))
    return path


def _flat(pairs: Mapping[str, object], before: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in pairs.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found += _flat(value, f"{name} · ")
        elif isinstance(value, list | tuple):
            found.append((name, _listed(value)))
        elif isinstance(value, float) and value.is_integer():
            found.append((name, f"{value:.0f}"))
        elif value is not None:
            found.append((name, str(value)))
    return [(name, value) for name, value in found if value]


def _listed(values: Sequence[object], limit: int = 20) -> str:
    shown = ", ".join(map(str, values[:limit]))
    return shown if len(values) <= limit else f"{shown}, … ({len(values)} in all)"
