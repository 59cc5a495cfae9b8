"""Attacks by name, with the constants under which they are published."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from torch import Tensor

from pretask.attacks.ascent import Model, check_constants, in_255ths, pgd
from pretask.attacks.balls import Randomness
from pretask.errors import unknown_name
from pretask.options import DECIDED, between
from pretask.registry import Registry

_NORM_WORDS = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True)
class Attack:
    """Projected gradient ascent with all its constants.

    Args:
        name: what it is called.
        epsilon: radius of the ball around the clean image, in pixel values of [0, 1].
        step_size: in the same unit.
        steps: per restart.
        norm: "linf" or "l2".
        restarts: attempts per image.
        random_start: uniform in the ball; otherwise at the clean image.

    Raises:
        PretaskError: epsilon outside [0, 1], no steps, no restarts, a step that goes nowhere, an unknown norm.
    """

    name: str
    epsilon: float
    step_size: float
    steps: int
    norm: str = "linf"
    restarts: int = 1
    random_start: bool = True

    def __post_init__(self) -> None:
        check_constants(self.epsilon, self.step_size, self.steps, self.norm, self.restarts)

    def __call__(self, model: Model, images: Tensor, labels: Tensor, generator: Randomness = None) -> Tensor:
        """Return adversarial images [B, C, H, W]; arguments are those of `pgd`."""
        return pgd(
            model,
            images,
            labels,
            epsilon=self.epsilon,
            step_size=self.step_size,
            steps=self.steps,
            norm=self.norm,
            restarts=self.restarts,
            random_start=self.random_start,
            generator=generator,
        )

    def describe(self) -> str:
        """Return all constants: "PGD-20 Linf eps 8/255 step 2/255, 1 restart"."""
        ball = f"{_NORM_WORDS[self.norm]} eps {in_255ths(self.epsilon)}"
        if (
            self.steps == 1
            and self.norm == "linf"
            and self.step_size == self.epsilon
            and not self.random_start
        ):
            return f"FGSM {ball}"
        restarts = f"{self.restarts} restart{'s' if self.restarts > 1 else ''}"
        start = "" if self.random_start else ", from the clean image"
        return f"PGD-{self.steps} {ball} step {in_255ths(self.step_size)}, {restarts}{start}"


_LINF, _L2 = 8 / 255, 128 / 255
_PRESETS = {
    attack.name: attack
    for attack in (
        Attack("fgsm", _LINF, _LINF, 1, random_start=False),
        Attack("pgd10", _LINF, 2 / 255, 10),
        Attack("pgd20", _LINF, 2 / 255, 20),
        Attack("pgd100", _LINF, 0.3 / 255, 100),
        Attack("pgd20-l2", _L2, 15 / 255, 20, norm="l2"),
    )
}
_ANY_STEPS = re.compile(r"pgd(\d+)(-l2)?")


def attack_names() -> list[str]:
    """Return the attacks with constants of their own; "pgd<steps>" and "pgd<steps>-l2" are names too."""
    return sorted(_PRESETS)


def create_attack(name: str, epsilon: float | None = None) -> Attack:
    """Return an attack by name.

    "pgd10" is the usual one for training, "pgd20" and "pgd100" are for evaluation. Any other "pgd<steps>" takes
    steps of 2.5·ε/steps, as Madry et al. do; "-l2" after it makes the ball Euclidean.

    Args:
        name: one of `attack_names()`, or "pgd<steps>", or "pgd<steps>-l2".
        epsilon: radius in pixel values; None for 8/255, or 128/255 in L2. Steps grow with it.

    Raises:
        PretaskError: an unknown name, no steps, or epsilon outside [0, 1].
    """
    attack = _PRESETS.get(name)
    if attack is None:
        parsed = _ANY_STEPS.fullmatch(name)
        if parsed is None:
            raise unknown_name("attack", name, [*_PRESETS, "pgd<steps>"])
        steps, norm, radius = int(parsed[1]), *(("l2", _L2) if parsed[2] else ("linf", _LINF))
        attack = Attack(name, radius, 2.5 * radius / max(1, steps), steps, norm=norm)
    return attack if epsilon is None else _with_epsilon(attack, epsilon)


def _with_epsilon(attack: Attack, epsilon: float) -> Attack:
    # A step that stayed would overshoot a small ball, and never reach the border of a large one.
    return replace(attack, epsilon=epsilon, step_size=epsilon * (attack.step_size / attack.epsilon))


Epsilon = Annotated[
    float | None,
    between(0, 255, "from 0 to 255: it counts 255ths of the pixel range"),
    DECIDED,
    "radius of the attack, in 255ths of the pixel range",
]


class AttackRegistry(Registry[Callable[..., Attack | None]]):
    """Attacks by name, as options of a training have them: "none" is no attack, and any "pgd<steps>" is a name."""

    def __init__(self) -> None:
        super().__init__("attack", "pretask.attacks")

    def names(self) -> list[str]:
        """Return the attacks with constants of their own, and "none"."""
        return ["none", *attack_names()]

    def get(self, name: str) -> Callable[..., Attack | None]:
        """Return a function of the radius, in 255ths, that makes the attack; see `Registry.get`."""
        if name == "none":
            return lambda: None
        create_attack(name)

        def make(*, epsilon: Epsilon = None) -> Attack:
            return create_attack(name, None if epsilon is None else epsilon / 255)

        return make


ATTACKS = AttackRegistry()
"""Makes of attacks, by name."""
