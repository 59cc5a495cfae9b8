"""Where models look: Grad-CAM of their answers, images in rows, models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretask.explain.canvas import CELL, new_figure, save, show_image
from pretask.explain.chosen import Chosen
from pretask.explain.grad_cam import grad_cam
from pretask.explain.parts import PARTS, Scene


@dataclass(frozen=True, eq=False)
class Seen:
    """What one model makes of the images that are shown.

    Attributes:
        name: of the model.
        maps: Grad-CAM of its answer, [n, H, W].
        answers: int64 [n].
        confidence: of these answers, [n].
    """

    name: str
    maps: Tensor
    answers: Tensor
    confidence: Tensor


@PARTS.register("gradcam")
def attention(scene: Scene, path: Path) -> dict[str, Any]:
    """Draw Grad-CAM of every model's own answer; return "attention": the truth and the answers for each image.

    Raises:
        PretaskError: a network without feature maps.
        MissingExtra: captum is not installed.
    """
    chosen, names = scene.chosen, scene.class_names
    seen = [_look(scene, name) for name in scene.models]
    _draw(path, chosen, names, seen)
    rows = [
        {
            "image": title,
            "label": None if label is None else names[label],
            "answers": {
                model.name: {
                    "label": names[int(model.answers[row])],
                    "probability": float(model.confidence[row]),
                }
                for model in seen
            },
        }
        for row, (title, label) in enumerate(zip(chosen.titles, chosen.labels, strict=True))
    ]
    return {"attention": rows}


def _look(scene: Scene, name: str) -> Seen:
    classifier, images = scene.classifier(name), scene.chosen.pixels.to(scene.device)
    with torch.no_grad():
        probabilities = classifier(images).softmax(1)
    confidence, answers = probabilities.max(1)
    return Seen(name, grad_cam(classifier, images, answers).cpu(), answers.cpu(), confidence.cpu())


def _draw(path: Path, chosen: Chosen, class_names: Sequence[str], seen: Sequence[Seen]) -> None:
    rows, columns = len(chosen.pixels), 1 + len(seen)
    figure = new_figure(columns * CELL, rows * (CELL + 0.25) + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, (image, label) in enumerate(zip(chosen.pixels, chosen.labels, strict=True)):
        show_image(axes[row][0], image, "" if label is None else class_names[label])
        for cell, model in zip(axes[row][1:], seen, strict=True):
            show_image(cell, image, _told(model, row, label, class_names))
            strength = model.maps[row] / model.maps[row].max().clamp(min=1e-12)
            cell.imshow(strength.numpy(), cmap="inferno", alpha=0.55, vmin=0, vmax=1)
    for cell, name in zip(axes[0], ("image", *(model.name for model in seen)), strict=True):
        cell.set_title(f"{name}\n{cell.get_title()}", fontsize=8)
    save(figure, path)


def _told(model: Seen, row: int, label: int | None, class_names: Sequence[str]) -> str:
    answer = int(model.answers[row])
    mark = "" if label is None else ("✓ " if answer == label else "✗ ")
    return f"{mark}{class_names[answer]} {100 * float(model.confidence[row]):.0f} %"
