"""Answers worth looking at: the surest right and wrong ones of each model, and where models disagree."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretask.data.images.fitting import enough, fit
from pretask.evaluation.predictions import predict, split_loader
from pretask.explain.parts import CELL, PARTS, Scene, new_figure, save, show_image


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
    _draw(scene, path, groups)
    images, names = scene.crowd, scene.class_names
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


def _draw(scene: Scene, path: Path, groups: Sequence[_Group]) -> None:
    images, size = scene.crowd, scene.data.image_size
    lines = 1 + max(len(words.splitlines()) for group in groups for words in group.words)
    figure = new_figure((scene.count + 0.8) * CELL, len(groups) * (CELL + 0.13 * lines))
    axes = figure.subplots(len(groups), scene.count, squeeze=False)
    for cells, group in zip(axes, groups, strict=True):
        for cell in cells:
            cell.set_axis_off()
        for cell, row, words in zip(cells, group.rows, group.words, strict=False):
            image = fit(images.images.read(row, enough(size)), size).float() / 255
            told = words.replace("\n", "\n→ ")
            show_image(cell, image, f"{scene.class_names[int(images.labels[row])]}\n→ {told}")
        cells[0].text(
            -0.08, 0.5, group.title, transform=cells[0].transAxes, ha="right", va="center", fontsize=8
        )
    save(figure, path)
