"""Weighted nearest neighbours of frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretask.evaluation.base import EVALUATORS
from pretask.evaluation.features import FeatureEvaluator, Features, figures

if TYPE_CHECKING:
    from pretask.data.images import ImageData

NEIGHBOURS = 200
FEW_NEIGHBOURS = 20
TEMPERATURE = 0.1
_BLOCK = 1024


@EVALUATORS.register("knn")
class NearestNeighbours(FeatureEvaluator):
    """Weighted k-nearest neighbours by cosine (Wu et al., CVPR 2018, arXiv 1805.01978, section 3.4).

    Each of the k nearest training images votes for its class with exp(cosine / T). Options are those of
    `SplitEvaluator`.
    """

    name = "knn"

    def constants(self) -> str:
        return (
            f"knn/1: cosine, k {NEIGHBOURS} (and {FEW_NEIGHBOURS}), at most the train images, "
            f"weights exp(cos/{TEMPERATURE:g})"
        )

    def judge(self, network: nn.Module, data: ImageData, train: Features, judged: Features) -> dict[str, Any]:
        """Return the figures at k 200, and "top1_k20"; see `FeatureEvaluator.judge`."""
        scores = vote(train, judged.values, data.num_classes, NEIGHBOURS)
        few = vote(train, judged.values, data.num_classes, FEW_NEIGHBOURS)
        return {
            **figures(scores, judged, len(train)),
            "k": min(NEIGHBOURS, len(train)),
            "top1_k20": float((few.argmax(1) == judged.labels).float().mean()),
        }


def vote(
    train: Features, queries: Tensor, num_classes: int, k: int, temperature: float = TEMPERATURE
) -> Tensor:
    """Return the weight of each class among the k nearest training images of each query.

    Args:
        train: features [n, D] and labels.
        queries: [q, D].
        num_classes: N.
        k: at most n are taken.
        temperature: T of the weights exp(cosine / T), which are scaled so that the nearest image weighs one.

    Returns:
        [q, N].
    """
    known, k = F.normalize(train.values, dim=1), min(k, len(train))
    blocks = []
    for block in torch.split(F.normalize(queries, dim=1), _BLOCK):
        nearest, place = (block @ known.T).topk(k, dim=1)
        weights = ((nearest - nearest[:, :1]) / temperature).exp()
        blocks.append(torch.zeros(len(block), num_classes).scatter_add_(1, train.labels[place], weights))
    return torch.cat(blocks)
