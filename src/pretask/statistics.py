"""What several seeds allow one to say: mean, spread, and a paired difference with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit


@dataclass(frozen=True)
class Difference:
    """Mean of per-seed differences a − b and its confidence interval; one seed has no interval."""

    mean: float
    low: float | None
    high: float | None
    n: int


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (n − 1 in the denominator), `None` for one value.

    Raises:
        ValueError: there are no values, or one is not finite.
    """
    _check(values)
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Difference:
    """Return the mean of a − b, seed by seed, with Student's t interval on n − 1 degrees of freedom.

    Pairing takes out what the seeds share (split, order of batches), so the interval is about the methods.

    Args:
        a: one figure per seed.
        b: the other method's figures, same seeds in the same order.
        level: how often such an interval holds the true mean, in (0, 1).

    Raises:
        ValueError: lengths differ, there are no values, one is not finite, or `level` is not in (0, 1).
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need one value per seed on each side, got {len(a)} and {len(b)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    _check(a)
    _check(b)
    mean, spread = mean_std([x - y for x, y in zip(a, b, strict=True)])
    if spread is None:
        return Difference(mean, None, None, len(a))
    n = len(a)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * spread / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


def _check(values: Sequence[float]) -> None:
    if not values:
        raise ValueError("at least one value is needed")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values must be finite, got {list(values)}")
