"""Adversarial training: images that an attack makes in each step, in place of the clean ones."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pretask.attacks import Attack, create_attack
from pretask.methods import Method
from pretask.training.config import MethodConfig

Adversary = Callable[[Method, Tensor, Tensor], Tensor]


def training_attack(config: MethodConfig) -> Attack | None:
    """Return the attack that a configuration names, at its radius or the attack's own; None for none.

    Raises:
        PretaskError: an unknown attack.
    """
    if config.adversarial == "none":
        return None
    return create_attack(config.adversarial, None if config.epsilon is None else config.epsilon / 255)


def make_adversary(config: MethodConfig) -> Adversary | None:
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
