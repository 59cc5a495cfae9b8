"""Names for a loss together with its class weights, as the long-tailed literature combines them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from pretask.errors import PretaskError
from pretask.losses.base import ClassificationLoss
from pretask.losses.factory import LOSSES, create_loss
from pretask.losses.options import LossOptions


@LOSSES.register("ldam-drw")
def ldam_drw(class_counts: Tensor, options: LossOptions) -> ClassificationLoss:
    """LDAM, with effective-number class weights in the last fifth of the training (Cao et al. 2019)."""
    return _weighted("ldam-drw", "ldam", 0.8, class_counts, options)


@LOSSES.register("ce-drw")
def ce_drw(class_counts: Tensor, options: LossOptions) -> ClassificationLoss:
    """Cross-entropy, with effective-number class weights in the last fifth of the training (Cao et al. 2019)."""
    return _weighted("ce-drw", "cross_entropy", 0.8, class_counts, options)


@LOSSES.register("class-balanced")
def class_balanced(class_counts: Tensor, options: LossOptions) -> ClassificationLoss:
    """Cross-entropy with effective-number class weights throughout (Cui et al. 2019)."""
    return _weighted("class-balanced", "cross_entropy", 0.0, class_counts, options)


def _weighted(
    name: str, loss: str, start: float, class_counts: Tensor, options: LossOptions
) -> ClassificationLoss:
    # Their defaults cannot be told from being asked for; anything else would be set aside silently.
    if options.class_weights not in ("none", "effective") or options.reweight_from not in (0.0, start):
        raise PretaskError(
            f"{name} sets class weights itself (effective, from {start}), and {options.class_weights} from "
            f"{options.reweight_from} were asked for: type --loss {loss} to choose them"
        )
    return create_loss(loss, replace(options, class_weights="effective", reweight_from=start))(class_counts)
