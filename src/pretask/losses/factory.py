"""Classification losses by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

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
