"""The report of a check: what was found of each kind, with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretask.reports import html


def write_check_report(path: Path, found: Mapping[str, Any]) -> Path:
    """Write the page of a check; return where it is.

    Args:
        path: of the page.
        found: "name" and "lead" of the data; "notes", lines; "command"; "not_found", names of kinds; "kinds", for each
            its "name", "count", "advice", what its "value" is, and "shown": findings with "value", "note", what they
            are "about", and up to two "pictures" ("name", "place", "source" as `html.thumbnail` gives it).
    """
    return html.write_page(path, html.render("check.html", title=f"{found['name']} · pretask check", **found))
