"""Focal loss: samples that are right already count less."""

from __future__ import annotations

import torch
from torch import Tensor

from pretask.losses.base import ClassificationLoss, as_probabilities
from pretask.losses.factory import LOSSES
from pretask.losses.options import DEFAULTS, LossOptions


@LOSSES.register("focal")
class Focal(ClassificationLoss):
    """Σ_k q_k (1-p_k)^γ (-log p_k), with p = softmax(logits) and q the smoothed target.

    Lin et al., ICCV 2017, arXiv 1708.02002, eq. 4, over K classes; their α_k of eq. 5 are class weights.

    Args:
        class_counts: training images of each of the K labels; not used by this loss.
        options: `focal_gamma` is γ; `label_smoothing`.
    """

    def __init__(self, class_counts: Tensor, options: LossOptions = DEFAULTS) -> None:
        super().__init__()
        self.gamma = options.focal_gamma
        self.label_smoothing = options.label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample; see `ClassificationLoss.forward`."""
        wanted = as_probabilities(targets, logits)
        wanted = (1 - self.label_smoothing) * wanted + self.label_smoothing / logits.shape[1]
        log_p = logits.log_softmax(dim=1)
        # At p = 1 the slope of (1-p)^γ is infinite for γ < 1, and infinity times 0 is NaN.
        missing = (-log_p.expm1()).clamp_min(torch.finfo(log_p.dtype).eps)
        return -(wanted * missing.pow(self.gamma) * log_p).sum(dim=1)
