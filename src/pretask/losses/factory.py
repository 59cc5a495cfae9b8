"""Losses by name, alone or together with their class weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from pretask.errors import PretaskError
from pretask.losses.base import ClassificationLoss
from pretask.losses.options import DEFAULTS, LossOptions
from pretask.losses.reweighting import Reweighted
from pretask.registry import Registry

LossFactory = Callable[[Tensor], ClassificationLoss]
"""Makes a loss from the number of training images [K] of each of its K labels."""

LOSSES: Registry[Callable[[Tensor, LossOptions], ClassificationLoss]] = Registry("loss", "pretask.losses")
"""Makes of losses, by name: from the number of training images [K] of each of K labels, and the options."""


def create_loss(name: str, options: LossOptions = DEFAULTS) -> LossFactory:
    """Return a factory of the loss called `name`, with the class weights that `options` ask for.

    Methods call it once per head: with the class counts [N] for a head over classes, with each count repeated
    M times for a head over joint labels. It raises `PretaskError` where a loss needs counts and a class has no
    images, and where a preset with class weights of its own is asked for others.

    Args:
        name: a registered loss.
        options: settings of the losses.

    Raises:
        PretaskError: an unknown name.
    """
    make = LOSSES.get(name)

    def build(class_counts: Tensor) -> ClassificationLoss:
        loss = make(class_counts, options)
        if options.class_weights == "none" or isinstance(loss, Reweighted):  # a preset has done it
            return loss
        return Reweighted(
            loss, class_counts, options.class_weights, options.reweight_from, options.effective_beta
        )

    return build


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
