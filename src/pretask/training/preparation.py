"""What is done to a batch before a method sees it: lower resolution, then attacks, then MixUp or CutMix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pretask.attacks import ATTACKS, Attack
from pretask.config.sections import MethodConfig, RunConfig
from pretask.errors import PretaskError
from pretask.methods import METHODS, Method

DEFAULT_SHARE = 0.5


@dataclass(frozen=True)
class LowResolution:
    """How large images are in the first part of a training; full-sized ones follow.

    Attributes:
        scale: of their sides, above 0 and below 1.
        share: of the training, from 0 to 1; in steps, or in time where that ends the training.
    """

    scale: float
    share: float

    def size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of an image of this size in the first part."""
        height, width = (max(1, round(side * self.scale)) for side in image_size)
        return height, width

    def work(self, image_size: tuple[int, int]) -> float:
        """Return what an image costs on average over the training, where one of full size costs 1: its pixels."""
        height, width = self.size(image_size)
        return 1 - self.share * (1 - height * width / (image_size[0] * image_size[1]))

    def __call__(self, images: Tensor, progress: float) -> Tensor:
        """Return images [B, C, H, W], averaged down to `size` while `progress`, 0 … 1, is below the share."""
        if progress >= self.share:
            return images
        small: Tensor = F.interpolate(images, self.size((images.shape[-2], images.shape[-1])), mode="area")
        return small


def low_resolution(asked: MethodConfig) -> LowResolution | None:
    """Return what a configuration asks for, or else its method's own; None where images keep their size."""
    own_scale, own_share = METHODS.get(asked.method).default_low_resolution
    scale = own_scale if asked.low_resolution is None else asked.low_resolution
    share = asked.low_resolution_share
    if share is None:
        share = own_share or DEFAULT_SHARE
    return LowResolution(scale, share) if scale < 1 and share > 0 else None


@torch.no_grad()
def check_low_resolution(
    low: LowResolution, method: Method, channels: int, image_size: tuple[int, int]
) -> None:
    """Refuse a size at which the network or a pretext cannot work.

    Raises:
        PretaskError: see above.
    """
    height, width = low.size(image_size)
    for pretext in method.pretexts:
        if pretext.domain == "image":
            pretext.check(channels, height, width)
    try:
        method.encoder.eval()(torch.zeros(1, channels, height, width))
    except Exception as fault:  # networks of fixed input size refuse in ways of their own
        raise PretaskError(
            f"the network cannot take images of {height}x{width} pixels, which --low-resolution {low.scale:g} makes "
            f"({str(fault).splitlines()[0]}): leave it out, or choose a convolutional --backbone"
        ) from fault
    finally:
        method.train()


Adversary = Callable[[Method, Tensor, Tensor], Tensor]


def training_attack(config: RunConfig) -> Attack | None:
    """Return the attack that a configuration names, at its radius or the attack's own; None for none.

    Raises:
        PretaskError: an unknown attack.
    """
    attack: Attack | None = ATTACKS.create(ATTACKS.spec(config.method.adversarial, config.options))
    return attack


def make_adversary(config: RunConfig) -> Adversary | None:
    """Return a function of the method, images [B, C, H, W] and labels [B] that attacks the images, or None.

    The attack raises the cross-entropy of the answer in one pass, in evaluation mode, before the method changes
    the images (Madry et al., arXiv 1706.06083, with the pretext on top as in G-SSL).

    Raises:
        PretaskError: an unknown attack.
    """
    attack = training_attack(config)
    if attack is None:
        return None

    def perturb(method: Method, images: Tensor, labels: Tensor) -> Tensor:
        answers = [name for name in method.inferences if name in ("single", "distilled")]
        return attack(method.classifier(answers[0] if answers else None), images, labels)

    return perturb


Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def make_mixing(num_classes: int, mixup: float, cutmix: float) -> Mix | None:
    """Return a function of images [B, C, H, W] and labels [B] that mixes them, or None when both are off.

    The labels it returns are probabilities [B, N]. With both on, each step draws one (Zhang et al. 2018;
    Yun et al. 2019).

    Args:
        num_classes: N.
        mixup, cutmix: parameter of the Beta distribution; 0 is off.
    """
    if not (mixup or cutmix):
        return None
    from torchvision.transforms import v2

    choices = [
        kind(alpha=alpha, num_classes=num_classes)
        for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        if alpha
    ]
    mix: Mix = choices[0] if len(choices) == 1 else v2.RandomChoice(choices)
    return mix


def make_preparation(
    config: RunConfig, num_classes: int
) -> Callable[[Method, Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Return a function of the method, images [B, C, H, W] and labels [B] that changes both, or None.

    Raises:
        PretaskError: an unknown attack.
    """
    asked = config.method
    low = low_resolution(asked)
    attack = make_adversary(config)
    mix = make_mixing(num_classes, asked.mixup, asked.cutmix)
    if low is None and attack is None and mix is None:
        return None

    def prepare(method: Method, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if low is not None:
            images = low(images, method.progress)
        if attack is not None:
            images = attack(method, images, labels)
        return (images, labels) if mix is None else mix(images, labels)

    return prepare
