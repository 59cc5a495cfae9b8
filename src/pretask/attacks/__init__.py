"""Adversarial attacks: pure functions on a model of images in [0, 1], for training and for evaluation."""

from pretask.attacks.ascent import Model, attacked, fgsm, in_255ths, pgd
from pretask.attacks.balls import Randomness
from pretask.attacks.presets import ATTACKS, Attack, attack_names, create_attack

__all__ = [
    "ATTACKS",
    "Attack",
    "Model",
    "Randomness",
    "attack_names",
    "attacked",
    "create_attack",
    "fgsm",
    "in_255ths",
    "pgd",
]
