"""What can be set on the losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from pretask.errors import PretaskError, unknown_name

ClassWeights = Literal["none", "inverse", "effective"]
"""How classes are weighted: all alike, by the inverse of their counts, or of their effective numbers."""


@dataclass(frozen=True)
class LossOptions:
    """The settings of every loss; each takes what it uses.

    Attributes:
        label_smoothing: share of each target that is spread over all labels, in [0, 1).
        ldam_margin: the largest margin of LDAM, that of the rarest class; > 0.
        ldam_scale: s, by which LDAM's cosines are multiplied; > 0.
        focal_gamma: γ of the focal loss; >= 0, where 0 is cross-entropy.
        class_weights: weights of the classes: none, the inverse of their counts, or of their effective numbers.
        effective_beta: β of the effective numbers, in [0, 1): 0 weighs classes alike, towards 1 by inverse counts.
        reweight_from: share of the training after which class weights apply, in [0, 1].

    Raises:
        PretaskError: a value out of its range.
    """

    label_smoothing: float = 0.0
    ldam_margin: float = 0.5
    ldam_scale: float = 30.0
    focal_gamma: float = 2.0
    class_weights: ClassWeights = "none"
    effective_beta: float = 0.9999
    reweight_from: float = 0.0

    def __post_init__(self) -> None:
        _require(0 <= self.label_smoothing < 1, self.label_smoothing, "label smoothing", "in [0, 1)", "0.1")
        _require(_positive(self.ldam_margin), self.ldam_margin, "LDAM margin", "above 0", "0.5")
        _require(_positive(self.ldam_scale), self.ldam_scale, "LDAM scale", "above 0", "30")
        _require(0 <= self.focal_gamma < math.inf, self.focal_gamma, "focal gamma", "0 or more", "2")
        _require(0 <= self.effective_beta < 1, self.effective_beta, "effective beta", "in [0, 1)", "0.9999")
        _require(0 <= self.reweight_from <= 1, self.reweight_from, "reweight from", "in [0, 1]", "0.8")
        if self.class_weights not in get_args(ClassWeights):
            raise unknown_name("kind of class weights", self.class_weights, get_args(ClassWeights))


def _positive(value: float) -> bool:
    return 0 < value < math.inf


def _require(allowed: bool, value: float, name: str, wanted: str, example: str) -> None:
    if not allowed:
        flag = f"--{name.lower().replace(' ', '-')}"
        raise PretaskError(f"{name} {value} is not {wanted}: type {flag} {example}")


DEFAULTS = LossOptions()
