"""Focal loss: samples that are right already count less."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pretask.losses.base import ClassificationLoss, LabelSmoothing, as_probabilities
from pretask.losses.factory import LOSSES
from pretask.options import at_least


@LOSSES.register("focal")
class Focal(ClassificationLoss):
    """Σ_k q_k (1-p_k)^γ (-log p_k), with p = softmax(logits) and q the smoothed target.

    Lin et al., ICCV 2017, arXiv 1708.02002, eq. 4, over K classes; their α_k of eq. 5 are class weights.

    Args:
        class_counts: training images of each of the K labels; not used by this loss.
        label_smoothing: in [0, 1).
        focal_gamma: γ, 0 or more; 0 is cross-entropy.
    """

    def __init__(
        self,
        class_counts: Tensor,
        *,
        label_smoothing: LabelSmoothing = 0.0,
        focal_gamma: Annotated[float, at_least(0), "how much images that are right already count less"] = 2.0,
    ) -> None:
        super().__init__()
        self.gamma = focal_gamma
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample; see `ClassificationLoss.forward`."""
        wanted = as_probabilities(targets, logits)
        wanted = (1 - self.label_smoothing) * wanted + self.label_smoothing / logits.shape[1]
        log_p = logits.log_softmax(dim=1)
        # At p = 1 the slope of (1-p)^γ is infinite for γ < 1, and infinity times 0 is NaN.
        missing = (-log_p.expm1()).clamp_min(torch.finfo(log_p.dtype).eps)
        return -(wanted * missing.pow(self.gamma) * log_p).sum(dim=1)
