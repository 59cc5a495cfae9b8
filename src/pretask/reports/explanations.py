"""The part of a run's report that shows what `pretask explain` drew into its folder."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from pretask.errors import PretaskError
from pretask.reports import html
from pretask.reports.html import Html, tag
from pretask.sealed import read_sealed

FOLDER = "explain"
LARGEST = 1_500_000
"""Bytes of a picture beyond which the report names it instead of holding it."""
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
    told = _told(run / FOLDER / "explain.json")
    figures = [
        _figure(run / FOLDER / Path(path).name, part, told)
        for part, path in told.get("files", {}).items()
        if part in _CAPTIONS and (run / FOLDER / Path(path).name).is_file()
    ]
    return html.section("Explanations", *figures) if figures else Html()


def _figure(path: Path, part: str, told: dict[str, Any]) -> Html:
    caption = _CAPTIONS[part]
    if path.stat().st_size > LARGEST:
        return tag("p", f"{caption} See {path.name} in the folder {FOLDER}.", class_="caption")
    source = f"data:{_TYPES[path.suffix]};base64,{b64encode(path.read_bytes()).decode()}"
    return html.figure(tag("img", src=source, alt=_words(part, told), style="max-width:100%"), caption)


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
