"""The pictures of `pretask explain`, as PNG or SVG files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from pretask.explain.chosen import Chosen
from pretask.explain.projections import Separation
from pretask.files import write_atomically

_LEGEND_CLASSES = 20
_CELL = 1.6  # inches
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "pretask", "font.size": 8}


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


@dataclass(frozen=True, eq=False)
class Projected:
    """Features of one model in two dimensions.

    Attributes:
        name: of the model.
        points: [n, 2].
        separation: in the features themselves.
    """

    name: str
    points: Tensor
    separation: Separation


def draw_attention(path: Path, chosen: Chosen, class_names: Sequence[str], seen: Sequence[Seen]) -> None:
    """Draw a row per image: itself, then under each model's map with the model's answer.

    Args:
        path: ends in .png or .svg.
        chosen: the images.
        class_names: of all models.
        seen: one entry per model.
    """
    rows, columns = len(chosen.pixels), 1 + len(seen)
    figure = _figure(columns * _CELL, rows * (_CELL + 0.25) + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, (pixels, label) in enumerate(zip(chosen.pixels, chosen.labels, strict=True)):
        picture = pixels.permute(1, 2, 0).numpy()
        _show(axes[row][0], picture, "" if label is None else class_names[label])
        for cell, model in zip(axes[row][1:], seen, strict=True):
            _show(cell, picture, _told(model, row, label, class_names))
            strength = model.maps[row] / model.maps[row].max().clamp(min=1e-12)
            cell.imshow(strength.numpy(), cmap="inferno", alpha=0.55, vmin=0, vmax=1)
    for cell, name in zip(axes[0], ("image", *(model.name for model in seen)), strict=True):
        cell.set_title(f"{name}\n{cell.get_title()}", fontsize=8)
    _save(figure, path)


def _told(model: Seen, row: int, label: int | None, class_names: Sequence[str]) -> str:
    answer = int(model.answers[row])
    mark = "" if label is None else ("✓ " if answer == label else "✗ ")
    return f"{mark}{class_names[answer]} {100 * float(model.confidence[row]):.0f} %"


def draw_projection(
    path: Path, kind: str, labels: Tensor, class_names: Sequence[str], projected: Sequence[Projected]
) -> None:
    """Draw a panel per model, points coloured by class; separation figures stand above each.

    Args:
        path: ends in .png or .svg.
        kind: "t-SNE" or "PCA".
        labels: int64 [n].
        class_names: N names; beyond 20 the legend names the first.
        projected: one entry per model.
    """
    figure = _figure(3.6 * len(projected) + 1.4, 4.2)
    axes = figure.subplots(1, len(projected), squeeze=False)[0]
    colors = mpl.colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    for cell, model in zip(axes, projected, strict=True):
        for c in sorted(set(labels.tolist())):
            own = model.points[labels == c]
            cell.scatter(
                own[:, 0], own[:, 1], s=5, linewidths=0, color=colors(c % colors.N), label=class_names[c]
            )
        apart = model.separation
        silhouette = "" if apart.silhouette is None else f"silhouette {apart.silhouette:.2f}, "
        cell.set_title(
            f"{model.name}: {kind}\n{silhouette}5 neighbours {100 * apart.neighbours:.1f} %", fontsize=9
        )
        cell.set_xticks([])
        cell.set_yticks([])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles[:_LEGEND_CLASSES],
        names[:_LEGEND_CLASSES],
        loc="outside right upper",
        markerscale=3,
        frameon=False,
    )
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
    return figure


def _show(cell: Any, picture: Any, title: str) -> None:
    cell.imshow(picture if picture.shape[2] == 3 else picture[:, :, 0], cmap="gray", vmin=0, vmax=1)
    cell.set_title(title, fontsize=7)
    cell.set_axis_off()


def _save(figure: Figure, path: Path) -> None:
    kind = path.suffix.removeprefix(".")
    undated = {"Date": None} if kind == "svg" else {}
    with mpl.rc_context(_STYLE):
        write_atomically(path, lambda draft: figure.savefig(draft, format=kind, metadata=undated))
