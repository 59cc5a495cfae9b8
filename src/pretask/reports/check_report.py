"""The report of a check: what was found of each kind, with pictures."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretask.reports import html

if TYPE_CHECKING:
    from torch import Tensor

THUMBNAIL = 96
"""Pixels of the longer side of a picture in the page."""


def write_check_report(path: Path, found: Mapping[str, Any]) -> Path:
    """Write the page of a check; return where it is.

    Args:
        path: of the page.
        found: "name" and "lead" of the data; "notes", lines; "command"; "not_found", names of kinds; "kinds", for each
            its "name", "count", "advice", what its "value" is, and "shown": findings with "value", "note", what they
            are "about", and up to two "pictures" ("name", "place", "source" as `thumbnail` gives it).
    """
    return html.write_page(path, html.render("check.html", title=f"{found['name']} · pretask check", **found))


def thumbnail(pixels: Tensor) -> str:
    """Return uint8 [C, H, W] as the source of a small picture in a page, the whole of it."""
    from PIL import Image

    rows = pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=70)
    return f"data:image/webp;base64,{b64encode(stream.getvalue()).decode()}"
