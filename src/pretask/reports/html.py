"""Self-contained HTML pages from templates: every text is escaped, and nothing is loaded from anywhere."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pretask.io.files import write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment
    from torch import Tensor

NOTHING = "–"
THUMBNAIL = 96
"""Pixels of the longer side of a small picture."""
Html = Markup
"""Markup that is ready to be put into a page; any other string is text and gets escaped."""


_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What neither a page nor a file of text can hold, and what turns the direction of the text around it."""


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def render(template: str, **values: Any) -> str:
    """Return a document.

    Args:
        template: a file of `reports/templates`. A page extends `base.html`, which takes "title" and has the block
            "body"; tables, figures and facts are macros of `parts.html`.
        values: of the names in the template; each must be there.
    """
    return _UNSEEN.sub(_escaped, _environment().get_template(template).render(values))


def part(name: str, *values: Any, **named: Any) -> Html:
    """Return a part of a page: what the macro `name` of `parts.html` makes of values."""
    made: Html = getattr(_environment().get_template("parts.html").module, name)(*values, **named)
    return made.strip()


def write_page(path: Path, document: str) -> Path:
    """Write a document in one step, so that a reader never meets half of it; its folder is made.

    Raises:
        PretaskError: the disk is full, or the folder cannot be written.
    """
    # Names of files may hold halves of characters, where they are no UTF-8.
    write_atomically(
        path, lambda draft: draft.write_text(document, encoding="utf-8", errors="backslashreplace")
    )
    return path


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=PackageLoader("pretask.reports"),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"flat": flat, "digest": _digest}
    return made


def _digest(script: str) -> str:
    """Return by which the security policy knows the page's own script, and lets in no other."""
    return f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"


def flat(pairs: Mapping[str, object], before: str = "") -> list[tuple[str, str]]:
    """Return names and values as text: nested mappings flattened, long lists shortened, empty values left out."""
    found: list[tuple[str, str]] = []
    for key, value in pairs.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found += flat(value, f"{name} · ")
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


def join(parts: Iterable[str]) -> Html:
    """Return the parts one after the other, escaping those that are text."""
    return Html().join(parts)


def tag(name: str, *children: str, **attributes: str | None) -> Html:
    """Return an element; an attribute's trailing underscore is dropped, others become hyphens; None is left out."""
    written = Html().join(
        Html(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("img", "input"):
        return Html("<{}{}>").format(name, written)
    return Html("<{0}{1}>{2}</{0}>").format(name, written, join(children))


def figure(chart: Html, caption: str) -> Html:
    """See the macro."""
    return part("figure", chart, caption)


def figures(*charts: Html) -> Html:
    """Return charts side by side where the window is wide enough."""
    return tag("div", *charts, class_="figures")


def legend(entries: Iterable[tuple[str, str]]) -> Html:
    """See the macro."""
    return part("legend", list(entries))


def facts(pairs: Mapping[str, object]) -> Html:
    """See the macro."""
    return part("facts", pairs)


def command(line: str) -> Html:
    """See the macro."""
    return part("command", line)


def section(title: str, *body: str) -> Html:
    """Return a part of the page under its heading."""
    return tag("section", tag("h2", title), *body)


def notice(text: str) -> Html:
    """See the macro."""
    return part("notice", text)


def page(title: str, *body: str) -> str:
    """Return a whole document."""
    return render("page.html", title=title, body=join(body))


def thumbnail(pixels: Tensor, side: int = THUMBNAIL) -> str:
    """Return an image as the source of a small picture in a page, the whole of it.

    Args:
        pixels: uint8 [C, H, W], C 1 or 3.
        side: its longer one is no longer than this.
    """
    from PIL import Image

    rows = pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=70)
    return f"data:image/webp;base64,{b64encode(stream.getvalue()).decode()}"
