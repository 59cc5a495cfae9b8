"""What several seeds allow one to say: mean, spread, and a paired difference with its interval and its test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

POWER = 0.8
MOST_SEEDS = 1000
_RESAMPLES = 9999
_ROUNDING = 1e-12
"""Differences of shares that spread by less differ by rounding alone."""


@dataclass(frozen=True)
class Difference:
    """Mean of per-seed differences a − b, and how sure it is; one seed is not sure at all.

    Attributes:
        mean: of the differences.
        low, high: ends of its confidence interval by Student's t.
        n: pairs.
        std: sample standard deviation of the differences.
        p: of the two-sided paired t-test; None without spread.
        bootstrap: ends of the percentile bootstrap's interval, which assumes no distribution but is too narrow with a
            handful of pairs.
        seeds_needed: smallest number of pairs with which a true difference and spread as seen here would be found in
            80 % of studies at this level; None without spread, or where it is over a thousand.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    std: float | None = None
    p: float | None = None
    bootstrap: tuple[float, float] | None = None
    seeds_needed: int | None = None


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
        a: one value per seed.
        b: the other method's values, same seeds in the same order.
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
    differences = [x - y for x, y in zip(a, b, strict=True)]
    mean, spread = mean_std(differences)
    if spread is None:
        return Difference(mean, None, None, len(a))
    from scipy.special import stdtr, stdtrit

    n, spread = len(a), spread if spread > _ROUNDING else 0.0
    half = float(stdtrit(n - 1, (1 + level) / 2)) * spread / math.sqrt(n)
    return Difference(
        mean,
        mean - half,
        mean + half,
        n,
        spread,
        2 * float(stdtr(n - 1, -abs(mean) / spread * math.sqrt(n))) if spread else None,
        bootstrap_interval(differences, level),
        seeds_needed(mean, spread, level),
    )


def share_interval(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the ends of Wilson's interval for a share of which `right` of `n` were seen.

    Raises:
        ValueError: n is 0, or `right` is not from 0 to n.
    """
    from scipy.stats import binomtest

    interval = binomtest(right, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def paired_share_difference(a: Sequence[bool], b: Sequence[bool]) -> Difference:
    """Return how much more often `a` is right than `b` on the same images, with McNemar's 95 % interval.

    The interval is Agresti and Min's (Statistics in Medicine 2005), which adds half an observation to each cell and
    so has a width even where no image was answered differently.

    Raises:
        ValueError: nothing to compare, or lists of different lengths.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"need two lists of one length, at least 1, got {len(a)} and {len(b)}")
    n = len(a) + 2
    only_a = sum(x and not y for x, y in zip(a, b, strict=True)) + 0.5
    only_b = sum(y and not x for x, y in zip(a, b, strict=True)) + 0.5
    mean = (only_a - only_b) / n
    half = 1.959964 * math.sqrt((only_a + only_b) / n - mean**2) / math.sqrt(n)
    return Difference((only_a - only_b) / len(a), mean - half, mean + half, len(a))


def bootstrap_interval(values: Sequence[float], level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return the interval of the mean from 9,999 samples drawn with replacement: their percentiles.

    Raises:
        ValueError: fewer than two values.
    """
    import numpy as np
    from scipy.stats import bootstrap  # takes most of a second to import

    if min(values) == max(values):
        return values[0], values[0]
    found = bootstrap(
        (values,), np.mean, n_resamples=_RESAMPLES, confidence_level=level, method="percentile", rng=seed
    ).confidence_interval
    return float(found.low), float(found.high)


def seeds_needed(mean: float, std: float, level: float = 0.95, power: float = POWER) -> int | None:
    """Return the smallest number of pairs whose t-test at `level` finds a true mean and spread with this power.

    Returns:
        None without spread or difference, or where more than `MOST_SEEDS` are needed.
    """
    if std <= 0 or mean == 0:
        return None
    from scipy.special import nctdtr, stdtrit

    for n in range(2, MOST_SEEDS + 1):
        critical = float(stdtrit(n - 1, (1 + level) / 2))
        if 1 - float(nctdtr(n - 1, abs(mean) / std * math.sqrt(n), critical)) >= power:
            return n
    return None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for their number (Holm, 1979): their largest stays below a level by chance as often.

    Those that are None stay so, and do not count.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted


def _check(values: Sequence[float]) -> None:
    if not values:
        raise ValueError("at least 1 value is needed")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values must be finite, got {list(values)}")
