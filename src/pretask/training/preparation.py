"""What is done to a batch before a method sees it: lower resolution, then attacks, then mixing."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pretask.methods import Method
from pretask.training.adversary import make_adversary
from pretask.training.config import MethodConfig
from pretask.training.mixing import make_mixing
from pretask.training.resolution import low_resolution


def make_preparation(
    config: MethodConfig, num_classes: int
) -> Callable[[Method, Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Return a function of the method, images [B, C, H, W] and labels [B] that changes both, or None.

    Raises:
        PretaskError: an unknown attack.
    """
    low = low_resolution(config)
    attack = make_adversary(config)
    mix = make_mixing(num_classes, config.mixup, config.cutmix)
    if low is None and attack is None and mix is None:
        return None

    def prepare(method: Method, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if low is not None:
            images = low(images, method.progress)
        if attack is not None:
            images = attack(method, images, labels)
        return (images, labels) if mix is None else mix(images, labels)

    return prepare
