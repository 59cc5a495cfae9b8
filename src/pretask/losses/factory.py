"""Losses by name, alone or together with their class weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pretask.losses.base import ClassificationLoss
from pretask.losses.reweighting import weighted
from pretask.options import Option, options_of
from pretask.registry import Registry

LossFactory = Callable[[Tensor], ClassificationLoss]
"""Makes a loss from the number of training images [K] of each of its K labels."""


class LossRegistry(Registry[Callable[..., ClassificationLoss]]):
    """Losses by name. Each class takes class weights too; functions stand for a loss with weights of its own."""

    def __init__(self) -> None:
        super().__init__("loss", "pretask.losses")

    def options(self, name: str) -> dict[str, Option]:
        """Return the options of a loss, and those of its class weights; see `Registry.options`."""
        make = self.get(name)
        return {**options_of(make), **(options_of(weighted) if isinstance(make, type) else {})}


LOSSES = LossRegistry()
"""Makes of losses, by name: from the number of training images [K] of each of K labels, and options."""


def create_loss(spec: str, **options: Any) -> LossFactory:
    """Return a factory of the loss that a spec names, as in "ldam" or "focal:focal_gamma=1:class_weights=inverse".

    Methods call it once per head: with the class counts [N] for a head over classes, with each count repeated
    M times for a head over joint labels. It raises `PretaskError` where a loss needs counts and a class has no
    images.

    Args:
        spec: name and options.
        options: the same beside the spec.

    Raises:
        PretaskError: an unknown name or option, or a value out of range.
    """
    name, given = LOSSES.read(spec, options)
    make = LOSSES.get(name)
    own = options_of(make)

    def build(class_counts: Tensor) -> ClassificationLoss:
        loss = make(class_counts, **{key: value for key, value in given.items() if key in own})
        return weighted(loss, class_counts, **{key: value for key, value in given.items() if key not in own})

    return build
