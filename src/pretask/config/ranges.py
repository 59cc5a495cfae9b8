"""The range of each number in a configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pretask.config.files import AnyConfig, to_flat
from pretask.errors import PretaskError

_Range = tuple[Callable[[Any], bool], str]
_POSITIVE: _Range = (lambda value: value > 0, "above 0")
_NOT_NEGATIVE: _Range = (lambda value: value >= 0, "0 or more")
_COUNT: _Range = (lambda value: value >= 1, "1 or more")
_BELOW_ONE: _Range = (lambda value: 0 <= value < 1, "0 or more and below 1")
_SHARE: _Range = (lambda value: 0 <= value <= 1, "from 0 to 1")
_SEED: _Range = (lambda value: 0 <= value < 2**63, "from 0 to 2^63 - 1")

_RANGES: dict[str, _Range] = {
    **dict.fromkeys(
        (
            "lr", "clip_grad_norm", "distill_temperature", "decay", "ldam_margin", "ldam_scale", "pretext_scale",
            "gate_temperature", "temperature", "mix_alpha",
        ),
        _POSITIVE,
    ),
    **dict.fromkeys(
        (
            "validation", "weight_decay", "mixup", "cutmix", "pretext_weight", "distill_weight",
            "warmup_epochs", "warmup_steps", "focal_gamma", "workers", "checkpoint_seconds",
            "unlabelled_weight", "base_weight", "extraction_weight", "consistency_weight", "profile",
        ),
        _NOT_NEGATIVE,
    ),
    **dict.fromkeys(
        (
            "epochs", "steps", "batch_size", "accumulate", "threads", "eval_every", "log_every", "checkpoint_steps",
            "views", "per_class", "image_size", "hidden_size", "embedding_size", "unlabelled_ratio",
            "ways", "shots", "queries", "episodes", "test_episodes",
        ),
        _COUNT,
    ),
    **dict.fromkeys(("momentum", "ema", "label_smoothing", "effective_beta", "target_momentum"), _BELOW_ONE),
    **dict.fromkeys(("gate_floor", "reweight_from", "pseudo_threshold", "low_resolution_share"), _SHARE),
    "low_resolution": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "epsilon": (lambda value: 0 <= value <= 255, "from 0 to 255: it counts 255ths of the pixel range"),
    **dict.fromkeys(("seed", "split_seed"), _SEED),
}  # fmt: skip


def check_ranges(config: AnyConfig) -> None:
    """Refuse numbers that no training can have.

    Raises:
        PretaskError: the first key out of range, with what is allowed.
    """
    for key, value in to_flat(config).items():
        if value is None or key not in _RANGES:
            continue
        allowed, words = _RANGES[key]
        if not (_finite(value) and allowed(value)):
            raise PretaskError(
                f"{key} = {value} is not possible: type --{key.replace('_', '-')} with a number {words}"
            )


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False
