"""Features in two dimensions, and figures that tell how well classes part in them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.errors import MissingExtra

NEIGHBOURS = 5
PERPLEXITY = 30
_KEPT_COMPONENTS = 50


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
    """Return the figures of features [n, D] and int64 labels [n]."""
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
    try:
        open_tsne: Any = import_module("openTSNE")
    except ModuleNotFoundError as fault:
        raise MissingExtra("openTSNE", "explain", "t-SNE") from fault
    unit = F.normalize(features, dim=1)
    reduced = pca(unit, seed, min(_KEPT_COMPONENTS, *unit.shape))
    made = open_tsne.TSNE(
        perplexity=min(PERPLEXITY, max(1, (len(features) - 1) / 3)),
        initialization="pca",
        random_state=seed,
        n_jobs=torch.get_num_threads(),
    ).fit(reduced.numpy())
    return torch.from_numpy(made.__array__().astype("float32"))
