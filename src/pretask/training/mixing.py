"""MixUp and CutMix: batches of images with soft labels."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torchvision.transforms import v2

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def make_mixing(num_classes: int, mixup: float, cutmix: float) -> Mix | None:
    """Return a function of images [B, C, H, W] and labels [B] that mixes them, or None when both are off.

    The labels it returns are probabilities [B, N]. With both on, each step draws one (Zhang et al. 2018;
    Yun et al. 2019).

    Args:
        num_classes: N.
        mixup, cutmix: parameter of the Beta distribution; 0 is off.
    """
    choices = [
        kind(alpha=alpha, num_classes=num_classes)
        for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        if alpha
    ]
    if not choices:
        return None
    mix: Mix = choices[0] if len(choices) == 1 else v2.RandomChoice(choices)
    return mix
