"""Weighted vote of the nearest training images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.evaluation.base import EVALUATORS
from pretask.evaluation.features import FeatureBank, FeatureEvaluator, accuracies, probe_figures

K = 200
FEWER = 20
TEMPERATURE = 0.1
_BLOCK_ELEMENTS = 16_000_000


@EVALUATORS.register("knn")
class KNN(FeatureEvaluator):
    """Weighted vote of the 200 (and 20) nearest training images by cosine; frozen features, nothing to choose.

    Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018, arXiv
    1805.01978, section 3.4; they vote with the temperature 0.07. Options are those of `FeatureEvaluator`.
    """

    name = "knn"

    def constants(self) -> str:
        return (
            f"knn/1: frozen features of unaugmented images, cosine similarity s, votes exp(s/{TEMPERATURE}) of "
            f"the k={K} and k={FEWER} nearest train images (clamped to their number)"
        )

    def judge(self, bank: FeatureBank) -> dict[str, Any]:
        """Return the figures of `probe_figures` with "k", and "fewer" with those of the smaller k."""
        train, judged = bank["train"], bank[self.split]
        where = self.where
        counts = tuple(min(k, len(train)) for k in (K, FEWER))
        most, fewer = votes(
            train.values.to(where), train.labels.to(where), judged.values, bank.num_classes, counts
        )
        return {
            **probe_figures(most, judged, train),
            "k": counts[0],
            "fewer": {"k": counts[1], **accuracies(fewer, judged.labels)},
        }


def votes(
    train: Tensor, labels: Tensor, queries: Tensor, num_classes: int, counts: tuple[int, ...]
) -> list[Tensor]:
    """Return the classes' votes `[n, N]` (CPU) for each number of neighbours.

    Args:
        train: `[m, D]`.
        labels: int64 `[m]`, where `train` is.
        queries: `[n, D]`, brought there block by block.
        num_classes: N.
        counts: numbers of neighbours, at most m.
    """
    known = F.normalize(train, dim=1).t()
    found: list[list[Tensor]] = [[] for _ in counts]
    for block in torch.split(queries, max(1, _BLOCK_ELEMENTS // len(train))):
        similarity = F.normalize(block.to(train.device), dim=1) @ known
        near, rows = similarity.topk(max(counts), dim=1)
        # The factor exp(-1/T) that all votes share keeps them within float32 for any temperature.
        weights = ((near - 1) / TEMPERATURE).exp()
        for kept, k in zip(found, counts, strict=True):
            empty = weights.new_zeros(len(block), num_classes)
            kept.append(empty.scatter_add_(1, labels[rows[:, :k]], weights[:, :k]).cpu())
    return [torch.cat(kept) for kept in found]
