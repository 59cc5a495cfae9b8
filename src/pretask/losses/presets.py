"""Names for a loss together with its class weights, as the long-tailed literature combines them."""

from __future__ import annotations

from torch import Tensor

from pretask.losses.base import ClassificationLoss, LabelSmoothing
from pretask.losses.cross_entropy import CrossEntropy
from pretask.losses.factory import LOSSES
from pretask.losses.ldam import LDAM, Margin, Scale
from pretask.losses.reweighting import EffectiveBeta, Reweighted


@LOSSES.register("ldam-drw")
def ldam_drw(
    class_counts: Tensor,
    *,
    label_smoothing: LabelSmoothing = 0.0,
    ldam_margin: Margin = 0.5,
    ldam_scale: Scale = 30.0,
    effective_beta: EffectiveBeta = 0.9999,
) -> ClassificationLoss:
    """LDAM, with effective-number class weights in the last fifth of the training (Cao et al. 2019)."""
    loss = LDAM(class_counts, label_smoothing=label_smoothing, ldam_margin=ldam_margin, ldam_scale=ldam_scale)
    return Reweighted(loss, class_counts, "effective", 0.8, effective_beta)


@LOSSES.register("ce-drw")
def ce_drw(
    class_counts: Tensor, *, label_smoothing: LabelSmoothing = 0.0, effective_beta: EffectiveBeta = 0.9999
) -> ClassificationLoss:
    """Cross-entropy, with effective-number class weights in the last fifth of the training (Cao et al. 2019)."""
    loss = CrossEntropy(class_counts, label_smoothing=label_smoothing)
    return Reweighted(loss, class_counts, "effective", 0.8, effective_beta)


@LOSSES.register("class-balanced")
def class_balanced(
    class_counts: Tensor, *, label_smoothing: LabelSmoothing = 0.0, effective_beta: EffectiveBeta = 0.9999
) -> ClassificationLoss:
    """Cross-entropy with effective-number class weights throughout (Cui et al. 2019)."""
    loss = CrossEntropy(class_counts, label_smoothing=label_smoothing)
    return Reweighted(loss, class_counts, "effective", 0.0, effective_beta)
