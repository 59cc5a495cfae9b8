"""The pictures that `pretask explain` drew into a run's folder, for its report."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretask.errors import PretaskError
from pretask.io.documents import read_sealed

FOLDER = "explain"
ROOM = 3_300_000
"""Bytes of all pictures together; those beyond them the report names, so that it stays below five million."""
_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_CAPTIONS = {
    "gradcam": "What of each image speaks for the model's own answer (Grad-CAM): bright is much, dark is nothing.",
    "examples": "The surest right and wrong answers, and images that models disagree about. Above each picture its "
    "true class, then the answers in the order of the models.",
    "pretexts": "What the pretexts of these models make of an image.",
    "tsne": "Features of the same images in two dimensions, by t-SNE. Distances between groups mean little; "
    "the numbers above each panel were taken in the features themselves.",
    "pca": "Features of the same images along their two principal components.",
}


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        caption: below it, or in its place.
        source: the picture itself as a `data:` address; empty where there is no room for it.
        words: what it shows, for screen readers.
        width: in pixels, as it was drawn.
    """

    caption: str
    source: str = ""
    words: str = ""
    width: int = 0


def explanations(run: Path) -> list[Picture]:
    """Return the pictures in a run folder."""
    drawn, room, shown = _drawn(run / FOLDER / "explain.json"), ROOM, []
    for part, written in drawn.get("files", {}).items():
        path = run / FOLDER / Path(written).name
        if part not in _CAPTIONS or path.suffix not in _TYPES or not path.is_file():
            continue
        if path.stat().st_size > room:
            shown.append(Picture(f"{_CAPTIONS[part]} See {path.name} in the folder {FOLDER}."))
            continue
        content = path.read_bytes()
        room -= len(content)
        source = f"data:{_TYPES[path.suffix]};base64,{b64encode(content).decode()}"
        shown.append(Picture(_CAPTIONS[part], source, _words(part, drawn), _width(content)))
    return shown


def _width(picture: bytes) -> int:
    """Return how many pixels wide a PNG is, or an SVG would be as one."""
    if picture.startswith(b"\x89PNG"):
        return int.from_bytes(picture[16:20])
    points = re.search(rb'<svg[^>]* width="([\d.]+)pt"', picture)
    return round(float(points[1]) * 150 / 72) if points else 1000


def _words(part: str, drawn: dict[str, Any]) -> str:
    """Return what the picture says, in words."""
    if part == "gradcam":
        rows = [
            f"{row['label'] or row['image']}: "
            + ", ".join(f"{name} answers {answer['label']}" for name, answer in row["answers"].items())
            for row in drawn.get("attention", ())
        ]
        return "; ".join(rows)
    if part == "examples":
        return "; ".join(
            f"{row['title']}: "
            + ", ".join(f"{image['label']} taken for {image['told']}" for image in row["images"])
            for row in drawn.get("examples", ())
        ).replace("\n", ", ")
    if part == "pretexts":
        return ", ".join(drawn.get("pretexts", {}))
    return "; ".join(
        f"{name}: 5 neighbours {100 * found['neighbours']:.1f} %"
        for name, found in drawn.get("separation", {}).items()
    )


def _drawn(path: Path) -> dict[str, Any]:
    """Return what `pretask explain` wrote down of its pictures, or nothing."""
    try:
        return read_sealed(path, "type `pretask explain` again")
    except PretaskError:
        return {}
