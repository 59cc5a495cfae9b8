"""The part of a run's report that shows what `pretask explain` drew into its folder."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

from pretask.errors import PretaskError
from pretask.io.documents import read_sealed
from pretask.reports import html
from pretask.reports.html import Html, tag

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
    "the figures above each panel were taken in the features themselves.",
    "pca": "Features of the same images along their two principal components.",
}


def explanations(run: Path) -> Html:
    """Return the pictures in a run folder with captions, or nothing where it has none."""
    told, room, shown = _told(run / FOLDER / "explain.json"), ROOM, []
    for part, written in told.get("files", {}).items():
        path = run / FOLDER / Path(written).name
        if part not in _CAPTIONS or not path.is_file():
            continue
        size = path.stat().st_size
        shown.append(_figure(path, part, told) if size <= room else _named(path, part))
        room -= size if size <= room else 0
    return html.section("Explanations", *shown) if shown else Html()


def _named(path: Path, part: str) -> Html:
    return tag("p", f"{_CAPTIONS[part]} See {path.name} in the folder {FOLDER}.", class_="caption")


def _figure(path: Path, part: str, told: dict[str, Any]) -> Html:
    content = path.read_bytes()
    source = f"data:{_TYPES[path.suffix]};base64,{b64encode(content).decode()}"
    picture = tag("img", src=source, alt=_words(part, told), style=f"--drawn: {_width(content)}px")
    return html.figure(tag("div", picture, class_="scroll picture", tabindex="0"), _CAPTIONS[part])


def _width(picture: bytes) -> int:
    """Return how many pixels wide a PNG is, or an SVG would be as one."""
    if picture.startswith(b"\x89PNG"):
        return int.from_bytes(picture[16:20])
    points = re.search(rb'<svg[^>]* width="([\d.]+)pt"', picture)
    return round(float(points[1]) * 150 / 72) if points else 1000


def _words(part: str, told: dict[str, Any]) -> str:
    """Return what the picture says, in words."""
    if part == "gradcam":
        rows = [
            f"{row['label'] or row['image']}: "
            + ", ".join(f"{name} answers {answer['label']}" for name, answer in row["answers"].items())
            for row in told.get("attention", ())
        ]
        return "; ".join(rows)
    if part == "examples":
        return "; ".join(
            f"{row['title']}: "
            + ", ".join(f"{image['label']} taken for {image['told']}" for image in row["images"])
            for row in told.get("examples", ())
        ).replace("\n", ", ")
    if part == "pretexts":
        return ", ".join(told.get("pretexts", {}))
    figures = told.get("separation", {})
    return "; ".join(
        f"{name}: 5 neighbours {100 * found['neighbours']:.1f} %" for name, found in figures.items()
    )


def _told(path: Path) -> dict[str, Any]:
    try:
        return read_sealed(path, "type `pretask explain` again")
    except PretaskError:
        return {}
