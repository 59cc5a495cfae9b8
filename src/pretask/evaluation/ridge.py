"""Ridge regression on frozen features, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretask.evaluation.base import EVALUATORS
from pretask.evaluation.features import FeatureEvaluator, Features, Scale, figures

if TYPE_CHECKING:
    from pretask.data.images import ImageData

PENALTIES = tuple(2.0**power for power in range(-10, 21, 2))
"""Of the sum of squared errors over the images."""


@EVALUATORS.register("ridge")
class RidgeProbe(FeatureEvaluator):
    """Ridge regression of one-hot labels on standardised features; its penalty is chosen on validation.

    Solved for all penalties from one eigendecomposition, so it suits few labels. Options are those of
    `SplitEvaluator`.
    """

    name = "ridge"

    def constants(self) -> str:
        return (
            "ridge/1: standardised features, one-hot targets, penalty of 2^-10, 2^-8, … 2^20 on the sum of squares, "
            "chosen on validation"
        )

    def judge(self, network: nn.Module, data: ImageData, train: Features, judged: Features) -> dict[str, Any]:
        """Return the figures of the penalty chosen, with "penalty"; see `FeatureEvaluator.judge`."""
        fitted, choosing, chosen_on = self.choosing(network, data, train)
        scale = Scale.of(fitted.values)
        weights, bias = solve_ridge(scale(fitted.values), fitted.labels, data.num_classes, PENALTIES)
        scores = scale(choosing.values).double() @ weights + bias
        best = int((scores.argmax(2) == choosing.labels).double().mean(1).argmax())
        answer = (scale(judged.values).double() @ weights[best] + bias).float()
        return {
            **figures(answer, judged, len(fitted)),
            "penalty": PENALTIES[best],
            "chosen_on": chosen_on,
        }


def solve_ridge(
    values: Tensor, labels: Tensor, num_classes: int, penalties: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Minimise Σ ‖xᵀW + b − onehot(y)‖² + penalty·‖W‖² for each penalty.

    Args:
        values: features [n, D] of mean zero.
        labels: int64 [n].
        num_classes: N.
        penalties: P of them, above 0.

    Returns:
        weights float64 [P, D, N] and the bias float64 [N], which is the same for all.
    """
    x = values.double()
    targets = F.one_hot(labels, num_classes).double()
    bias = targets.mean(0)
    centred = targets - bias
    # The smaller of both Gram matrices: with few images, that of the images.
    if len(x) < x.shape[1]:
        roots, vectors = torch.linalg.eigh(x @ x.T)
        inner, outer = vectors.T @ centred, x.T @ vectors
    else:
        roots, vectors = torch.linalg.eigh(x.T @ x)
        inner, outer = vectors.T @ (x.T @ centred), vectors
    shrunk = 1 / (roots.clamp_min(0) + torch.tensor(penalties, dtype=torch.float64)[:, None])
    return outer @ (shrunk[..., None] * inner), bias
