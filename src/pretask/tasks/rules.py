"""How a training with labels is set up where the user leaves it open: one table of rules.

A rule looks at the images and at what was decided before it, never at the method: all methods of a study train alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pretask.options import Decision


@dataclass(frozen=True)
class Situation:
    """What rules look at.

    Attributes:
        images: to train on, with labels.
        pretrained: whether the network starts from published weights.
    """

    images: int
    pretrained: bool

    @property
    def start(self) -> str:
        """Where the weights come from, in words."""
        return "fine-tuning" if self.pretrained else "training from scratch"


@dataclass(frozen=True)
class Rule:
    """How one setting follows from a situation.

    Attributes:
        key: of the configuration.
        words: the rule, for the documentation.
        decide: returns the value and the reason, from the situation and the settings so far.
    """

    key: str
    words: str
    decide: Callable[[Situation, Mapping[str, Any]], tuple[Any, str]]


def settle(situation: Situation, known: Mapping[str, Any]) -> list[Decision]:
    """Return what the rules decide, in their order, for the settings that are open.

    Args:
        situation: see `Situation`.
        known: settings of the configuration by key; None where they are open.
    """
    settings, made = dict(known), []
    needless = "epochs" if settings.get("steps") is not None else ""
    for rule in RULES:
        if settings.get(rule.key) is None and rule.key != needless:
            value, reason = rule.decide(situation, settings)
            settings[rule.key] = value
            made.append(Decision(rule.key, value, reason))
    return made


def _optimizer(at: Situation, known: Mapping[str, Any]) -> tuple[str, str]:
    return ("adamw" if at.pretrained else "sgd"), f"for {at.start}"


def _batch_size(at: Situation, known: Mapping[str, Any]) -> tuple[int, str]:
    size = _power_of_two(at.images / STEPS_PER_EPOCH, *BATCHES)
    return size, f"about {STEPS_PER_EPOCH} steps an epoch, from {BATCHES[0]} to {BATCHES[1]}"


def _epochs(at: Situation, known: Mapping[str, Any]) -> tuple[int, str]:
    steps = (TUNING_STEPS if at.pretrained else SCRATCH_STEPS) * math.sqrt(at.images / TYPICAL_IMAGES)
    low, high = TUNING_EPOCHS if at.pretrained else SCRATCH_EPOCHS
    epochs = min(high, max(low, round(steps * known["batch_size"] / at.images)))
    return epochs, f"about {steps:,.0f} steps, which {at.start} on {at.images:,} images needs"


def _lr(at: Situation, known: Mapping[str, Any]) -> tuple[float, str]:
    optimizer, batch = known["optimizer"], known["batch_size"]
    if optimizer == "sgd":
        return _rounded(0.1 * min(1.0, batch / 128)), f"0.1 for batches of 128, in proportion (batch {batch})"
    if optimizer == "lars":
        return _rounded(0.3 * batch / 256), f"0.3 for batches of 256, in proportion (batch {batch})"
    return 1e-3, f"for {at.start} with adamw"


def _weight_decay(at: Situation, known: Mapping[str, Any]) -> tuple[float, str]:
    decay = {"sgd": 5e-4, "lars": 1e-6, "adamw": 0.05}[known["optimizer"]]
    return decay, f"usual with {known['optimizer']}"


def _layer_decay(at: Situation, known: Mapping[str, Any]) -> tuple[float, str]:
    return (TUNING_DECAY, "early layers of published weights change least") if at.pretrained else (1.0, "")


def _head_epochs(at: Situation, known: Mapping[str, Any]) -> tuple[float, str]:
    return (1.0, "new layers first find their place") if at.pretrained else (0.0, "")


def _power_of_two(value: float, low: int, high: int) -> int:
    """Return the power of two nearest to `value`, from `low` to `high`."""
    return min(high, max(low, 1 << round(math.log2(max(1.0, value)))))


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


STEPS_PER_EPOCH, BATCHES = 48, (16, 128)
TYPICAL_IMAGES, SCRATCH_STEPS, TUNING_STEPS = 3_000, 3_000, 800
SCRATCH_EPOCHS, TUNING_EPOCHS = (10, 200), (3, 50)
TUNING_DECAY = 0.75

RULES = (
    Rule("optimizer", "sgd from scratch, adamw from published weights", _optimizer),
    Rule("batch_size", "the power of two nearest to images / 48, from 16 to 128", _batch_size),
    Rule("epochs", "3,000 steps (800 from published weights) x sqrt(images / 3,000)", _epochs),
    Rule("lr", "sgd: 0.1 x batch / 128, at most 0.1; adamw: 0.001", _lr),
    Rule("weight_decay", "sgd: 0.0005; adamw: 0.05", _weight_decay),
    Rule("layer_decay", "0.75 from published weights; else 1", _layer_decay),
    Rule("head_epochs", "1 from published weights; else 0", _head_epochs),
)
"""The rules, in the order in which they decide."""
