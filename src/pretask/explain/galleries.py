"""Galleries: answers worth looking at, and what pretexts do to the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretask.evaluation.predictions import predict, split_loader
from pretask.explain.scene import CELL, PARTS, Scene, new_figure, save, show_image
from pretask.io.documents import read_yaml
from pretask.pretexts import Pretext, create_pretexts

MOST_VIEWS = 8
_Row = tuple[str, Sequence[tuple[Tensor, str]]]
"""A row's title, its images [C, H, W], and what stands above each."""


@dataclass(frozen=True, eq=False)
class _Group:
    """A row of pictures: what they have in common, which images of the crowd they are, and what stands above each."""

    title: str
    rows: Sequence[int]
    words: Sequence[str]


@PARTS.register("examples")
def examples(scene: Scene, path: Path) -> dict[str, Any]:
    """Draw rows of `scene.count` images; return "examples": for each row its title, and image, truth and words of each.

    The surest right answers and the surest wrong ones of each model; with several models also images that they
    disagree about, those first on which the models' probabilities lie farthest apart.
    """
    probabilities = {name: _probabilities(scene, name) for name in scene.models}
    groups = [group for name, p in probabilities.items() for group in _best_and_worst(scene, name, p)]
    if len(probabilities) > 1:
        groups.append(_disagreements(scene, probabilities))
    groups = [group for group in groups if group.rows]
    images, names, size = scene.crowd, scene.class_names, scene.data.image_size
    rows = []
    for group in groups:
        truths = [names[int(images.labels[row])] for row in group.rows]
        pictures = [images.images.fitted(row, size).float() / 255 for row in group.rows]
        above = [
            f"{truth}\n{words}".replace("\n", "\n→ ")
            for truth, words in zip(truths, group.words, strict=True)
        ]
        rows.append((group.title, list(zip(pictures, above, strict=True))))
    lines = 1 + max(len(words.splitlines()) for group in groups for words in group.words)
    _draw(path, rows, scene.count, 0.13 * lines)
    return {
        "examples": [
            {
                "title": group.title,
                "images": [
                    {
                        "image": images.images.describe(row),
                        "label": names[int(images.labels[row])],
                        "told": words,
                    }
                    for row, words in zip(group.rows, group.words, strict=True)
                ],
            }
            for group in groups
        ]
    }


def _probabilities(scene: Scene, name: str) -> Tensor:
    classifier, device = scene.classifier(name), scene.device
    size = scene.data.image_size
    with closing(
        split_loader(classifier, scene.crowd, image_size=size, batch_size=256, device=device)
    ) as loader:
        return predict(classifier, loader).logits.softmax(1)


def _best_and_worst(scene: Scene, name: str, probabilities: Tensor) -> list[_Group]:
    confidence, answers = probabilities.max(1)
    right = answers == scene.crowd.labels
    groups = []
    for title, where in (("surest right", right), ("surest wrong", ~right)):
        order = confidence.masked_fill(~where, -1).argsort(descending=True, stable=True)
        rows = order[: min(scene.count, int(where.sum()))].tolist()
        words = [_answer(scene, probabilities[row]) for row in rows]
        groups.append(_Group(f"{name}\n{title}", rows, words))
    return groups


def _disagreements(scene: Scene, probabilities: dict[str, Tensor]) -> _Group:
    stacked = torch.stack(list(probabilities.values()))
    answers = stacked.argmax(2)
    differ = (answers != answers[0]).any(0)
    apart = (stacked.amax(0) - stacked.amin(0)).amax(1)
    order = apart.masked_fill(~differ, -1).argsort(descending=True, stable=True)
    rows = order[: min(scene.count, int(differ.sum()))].tolist()
    words = ["\n".join(_answer(scene, p[row]) for p in probabilities.values()) for row in rows]
    return _Group("models disagree", rows, words)


def _answer(scene: Scene, probabilities: Tensor) -> str:
    best = int(probabilities.argmax())
    return f"{scene.class_names[best]} {100 * float(probabilities[best]):.0f} %"


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
        rows = [_views(scene, pretext) for pretext in drawn]
        _draw(path, rows, max(len(views) for _, views in rows), 0.3)
    return {"pretexts": trained_with}


def _pretexts(folder: Path) -> Sequence[str]:
    config = folder / "config.yaml"
    if not config.is_file():
        return ()
    found: Sequence[str] = read_yaml(config).get("pretexts") or ()
    return found


def _views(scene: Scene, pretext: Pretext) -> _Row:
    torch.manual_seed(scene.seed)  # of the place of a patch
    views, names = pretext.views(scene.chosen.pixels[:1]), pretext.label_names()
    more = f"\n{len(names)} views" if len(names) > MOST_VIEWS else ""
    return f"{pretext.name}{more}", list(zip(views, names, strict=True))[:MOST_VIEWS]


def _draw(path: Path, rows: Sequence[_Row], columns: int, room: float) -> None:
    """Draw rows of pictures, `room` inches above each for its title."""
    figure = new_figure((columns + 0.8) * CELL, len(rows) * (CELL + room))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for cells, (title, pictures) in zip(axes, rows, strict=True):
        for cell in cells:
            cell.set_axis_off()
        for cell, (image, words) in zip(cells, pictures, strict=False):
            show_image(cell, image, words)
        cells[0].text(-0.08, 0.5, title, transform=cells[0].transAxes, ha="right", va="center", fontsize=8)
    save(figure, path)
