"""How features lie: the same images for every model in two dimensions, coloured by class, and how well classes part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.errors import import_extra
from pretask.explain.scene import PARTS, Scene, new_figure, save

NEIGHBOURS = 5
PERPLEXITY = 30
_KEPT_COMPONENTS = 50
_LEGEND_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Separation:
    """How well classes part in the features themselves, before anything is projected.

    Attributes:
        silhouette: mean over images, by cosine distance, -1 … 1; None with fewer than two classes.
        neighbours: share of images of which most of the 5 nearest others (by cosine, votes of equal weight, the nearest
            decides ties) have the same class.
    """

    silhouette: float | None
    neighbours: float


def separation(features: Tensor, labels: Tensor) -> Separation:
    """Return the separation of features [n, D] and int64 labels [n]."""
    from sklearn.metrics import silhouette_score

    classes = len(set(labels.tolist()))
    silhouette = (
        float(silhouette_score(features.numpy(), labels.numpy(), metric="cosine"))
        if 1 < classes < len(labels)
        else None
    )
    unit = F.normalize(features, dim=1)
    similarity = (unit @ unit.t()).fill_diagonal_(-2)
    near = labels[similarity.topk(min(NEIGHBOURS, len(labels) - 1), dim=1).indices]
    # Votes count one each; what the nearer add is too little to outweigh a vote and enough to break any tie.
    votes = torch.zeros(len(labels), int(labels.max()) + 1)
    weights = 1 + 0.01 * 0.5 ** torch.arange(near.shape[1])
    votes.scatter_add_(1, near, weights.expand_as(near))
    return Separation(silhouette, float((votes.argmax(1) == labels).float().mean()))


def pca(features: Tensor, seed: int, components: int = 2) -> Tensor:
    """Return the principal components [n, components] of features [n, D], the farthest image on the plus side."""
    centred = features.double() - features.double().mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    projected = centred @ directions[:components].t()
    signs = projected.gather(0, projected.abs().argmax(0, keepdim=True)).sign()
    signed: Tensor = projected * signs
    return signed.float()


def tsne(features: Tensor, seed: int) -> Tensor:
    """Return a t-SNE map [n, 2] (van der Maaten & Hinton 2008) of features [n, D], by openTSNE.

    Features of unit length, reduced to 50 principal components; perplexity 30 (fewer for few images), started from the
    first two components.

    Raises:
        MissingExtra: openTSNE is not installed.
    """
    open_tsne = import_extra("openTSNE", "explain", "t-SNE")
    unit = F.normalize(features, dim=1)
    reduced = pca(unit, seed, min(_KEPT_COMPONENTS, *unit.shape))
    made = open_tsne.TSNE(
        perplexity=min(PERPLEXITY, max(1, (len(features) - 1) / 3)),
        initialization="pca",
        random_state=seed,
        n_jobs=torch.get_num_threads(),
    ).fit(reduced.numpy())
    return torch.from_numpy(made.__array__().astype("float32"))


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
        features = scene.features(name)
        apart = separation(features, scene.crowd.labels)
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
        numbers = f"{silhouette}5 neighbours {100 * apart.neighbours:.1f} %"
        cell.set_title(f"{model.name}: {kind}\n{numbers}", fontsize=9)
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
