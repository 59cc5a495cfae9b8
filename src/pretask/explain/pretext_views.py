"""What pretexts do to the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pretask.explain.parts import CELL, PARTS, Scene, new_figure, save, show_image
from pretask.io.documents import read_yaml
from pretask.pretexts import Pretext, create_pretexts

MOST_VIEWS = 8


@PARTS.register("pretexts")
def pretext_views(scene: Scene, path: Path) -> dict[str, Any]:
    """Draw an image under every pretext that the models were trained with; return "pretexts": the models of each.

    Views beyond eight, and pretexts that change features instead of images, are named and not drawn. Where no model
    had a pretext on images, nothing is drawn.
    """
    trained_with: dict[str, list[str]] = {}
    for name, folder in scene.models.items():
        for pretext in _pretexts(folder):
            trained_with.setdefault(pretext, []).append(name)
    known = create_pretexts(list(trained_with)) if trained_with else ()
    drawn = [pretext for pretext in known if pretext.domain == "image"]
    if drawn:
        _draw(scene, path, drawn)
    return {"pretexts": trained_with}


def _pretexts(folder: Path) -> Sequence[str]:
    config = folder / "config.yaml"
    if not config.is_file():
        return ()
    found: Sequence[str] = read_yaml(config).get("pretexts") or ()
    return found


def _draw(scene: Scene, path: Path, pretexts: Sequence[Pretext]) -> None:
    columns = min(MOST_VIEWS, max(pretext.num_labels for pretext in pretexts))
    figure = new_figure((columns + 0.8) * CELL, len(pretexts) * (CELL + 0.3))
    axes = figure.subplots(len(pretexts), columns, squeeze=False)
    image = scene.chosen.pixels[:1]
    for cells, pretext in zip(axes, pretexts, strict=True):
        torch.manual_seed(scene.seed)  # of the place of a patch
        views = pretext.views(image)
        names = pretext.label_names()
        for cell in cells:
            cell.set_axis_off()
        for cell, view, name in zip(cells, views, names, strict=False):
            show_image(cell, view, name)
        more = f"\n{len(names)} views" if len(names) > columns else ""
        cells[0].text(
            -0.08,
            0.5,
            f"{pretext.name}{more}",
            transform=cells[0].transAxes,
            ha="right",
            va="center",
            fontsize=8,
        )
    save(figure, path)
