"""Class weights on any loss, from the start or deferred."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.losses.base import ClassificationLoss
from pretask.options import BELOW_ONE, SHARE, checking, one_of

ClassWeights = Literal["none", "inverse", "effective"]
"""How classes are weighted: all alike, by the inverse of their counts, or of their effective numbers."""
EffectiveBeta = Annotated[float, BELOW_ONE, "beta of the effective number"]


def positive_counts(class_counts: Tensor, purpose: str) -> Tensor:
    """Return the counts [K] as float64.

    Args:
        class_counts: training images of each of the K labels.
        purpose: who needs them, the start of the error ("LDAM").

    Raises:
        PretaskError: no counts, or a label without images.
    """
    empty = int((class_counts <= 0).sum())
    if len(class_counts) and not empty:
        return class_counts.to(torch.float64)
    found = f"{empty} of {len(class_counts)} classes have none" if empty else "none were given"
    raise PretaskError(
        f"{purpose} needs the number of training images of each class, and {found}: give each an image, "
        "or type --loss cross_entropy --class-weights none"
    )


@checking
class Reweighted(ClassificationLoss):
    """w_y · loss from a share `start` of the training on, loss before; a soft target q weighs Σ_k q_k w_k.

    Start 0 is plain re-weighting; start 0.8 is the deferred one (DRW) of Cao et al. 2019, arXiv 1906.07413,
    from epoch 160 of 200. The weights' mean over the training images is one, so the step size does not jump.
    The authors divide each batch by its own sum of weights instead, which is the same but for that sum's
    fluctuation; without it the mean over a batch is linear in its samples, and ranks agree with one process.

    Args:
        loss: what is weighted.
        class_counts: training images of each of the K labels.
        kind: see `class_weights`.
        start: share of the training in [0, 1].
        beta: of kind "effective", in [0, 1).

    Raises:
        PretaskError: a value out of its range; no counts, or a class without images.
    """

    weights: Tensor
    active: Tensor

    def __init__(
        self,
        loss: ClassificationLoss,
        class_counts: Tensor,
        kind: ClassWeights,
        start: Annotated[float, SHARE, "share of the training after which class weights apply"] = 0.0,
        beta: EffectiveBeta = 0.9999,
    ) -> None:
        super().__init__()
        one_of("kind of class weights", kind, ClassWeights)
        self.loss, self.start, self.logit_scale = loss, start, loss.logit_scale
        weights = class_weights(class_counts, kind, beta).to(torch.float32)
        self.register_buffer("weights", weights, persistent=False)
        # A tensor on the device: the switch then neither recompiles a compiled step nor waits for the device.
        self.register_buffer("active", torch.tensor(float(start == 0)), persistent=False)

    def set_progress(self, fraction: float) -> None:
        """Switch the weights on from `start` on; see `ClassificationLoss.set_progress`."""
        self.active.fill_(float(fraction >= self.start))
        self.loss.set_progress(fraction)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted loss of each sample; see `ClassificationLoss.forward`."""
        losses: Tensor = self.loss(logits, targets)
        weights = torch.where(self.active > 0, self.weights, 1.0)
        return losses * (weights[targets] if targets.dim() == 1 else (targets * weights).sum(dim=1))


def class_weights(class_counts: Tensor, kind: ClassWeights, beta: float = 0.9999) -> Tensor:
    """Return weights [K], float64, whose mean over the training images is one: Σ_k n_k w_k = Σ_k n_k.

    Args:
        class_counts: training images n_k of each of the K labels.
        kind: "none": all one; "inverse": 1 / n_k; "effective": (1-β) / (1-β^n_k), the inverse of the effective
            number of images (Cui et al., CVPR 2019, arXiv 1901.05555, eq. 4).
        beta: β in [0, 1).

    Raises:
        PretaskError: no counts, or a class without images, where these are needed.
    """
    if kind == "none":
        return torch.ones(len(class_counts), dtype=torch.float64)
    counts = positive_counts(class_counts, f"class weights '{kind}'")
    raw = 1 / counts if kind == "inverse" else (1 - beta) / (1 - beta**counts)
    return raw * counts.sum() / (counts * raw).sum()


def weighted(
    loss: ClassificationLoss,
    class_counts: Tensor,
    *,
    class_weights: Annotated[
        ClassWeights, "by one over the images of a class, or over their effective number"
    ] = "none",
    effective_beta: EffectiveBeta = 0.9999,
    reweight_from: Annotated[float, SHARE, "share of the training before class weights apply"] = 0.0,
) -> ClassificationLoss:
    """Return a loss with class weights, or the loss itself where none are asked for; see `Reweighted`."""
    if class_weights == "none":
        return loss
    return Reweighted(loss, class_counts, class_weights, reweight_from, effective_beta)
