"""How features lie: the same images for every model, in two dimensions, coloured by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from torch import Tensor

from pretask.explain.parts import PARTS, Scene, new_figure, save
from pretask.explain.projections import Separation, pca, tsne

_LEGEND_CLASSES = 20


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


@PARTS.register("tsne")
def tsne_maps(scene: Scene, path: Path) -> dict[str, Any]:
    """Draw t-SNE maps; see `projected_features`.

    Raises:
        MissingExtra: openTSNE is not installed.
    """
    return projected_features(scene, path, "t-SNE", tsne)


@PARTS.register("pca")
def pca_maps(scene: Scene, path: Path) -> dict[str, Any]:
    """Draw the first two principal components; see `projected_features`."""
    return projected_features(scene, path, "PCA", pca)


def projected_features(
    scene: Scene, path: Path, kind: str, project: Callable[[Tensor, int], Tensor]
) -> dict[str, Any]:
    """Draw a panel per model; return "separation" of each model's features, and the number of "points"."""
    panels = []
    for name in scene.models:
        features, apart = scene.features(name)
        panels.append(Projected(name, project(features, scene.seed), apart))
    _draw(path, kind, scene.crowd.labels, scene.class_names, panels)
    return {
        "separation": {panel.name: asdict(panel.separation) for panel in panels},
        "points": len(scene.crowd),
    }


def _draw(
    path: Path, kind: str, labels: Tensor, class_names: Sequence[str], panels: Sequence[Projected]
) -> None:
    figure = new_figure(3.6 * len(panels) + 1.4, 4.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    colors = mpl.colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    for cell, model in zip(axes, panels, strict=True):
        for label in sorted(set(labels.tolist())):
            own, color = model.points[labels == label], colors(label % colors.N)
            cell.scatter(own[:, 0], own[:, 1], s=5, linewidths=0, color=color, label=class_names[label])
        apart = model.separation
        silhouette = "" if apart.silhouette is None else f"silhouette {apart.silhouette:.2f}, "
        figures = f"{silhouette}5 neighbours {100 * apart.neighbours:.1f} %"
        cell.set_title(f"{model.name}: {kind}\n{figures}", fontsize=9)
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
    save(figure, path)
