"""Adversarial attacks: pure functions on a model of images in [0, 1], for training and for evaluation."""

from pretask.attacks.ascent import Model, Randomness, attacked, fgsm, pgd
from pretask.attacks.limits import in_255ths
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
