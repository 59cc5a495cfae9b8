"""Pictures that are far from the rest of their set, by robust statistics, and classes and splits that are too small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretask.checks import findings as kinds
from pretask.checks.findings import Finding, Kind
from pretask.checks.looks import Looks
from pretask.checks.pictures import Pictures
from pretask.data.splits.apply import TEST_SHARE
from pretask.statistics import share_interval

TIMES = 4.0
"""How many robust standard deviations (1.4826 times the median distance from the median) are far."""
TIMES_SIZE = 5.0
LEAST_SIZE, LEAST_SHAPE = float(np.log2(3)), 1.0
"""Distances from the median that are far at least: 3 times the side, or 2 times the ratio of the sides, as log2."""
LEAST_BLUR, LEAST_GREY = 0.15, 0.25
DARK_BELOW, BRIGHT_ABOVE = 0.25, 0.8
"""Grey values that 95 % of the pixels of a dark picture lie below, and of a bright one above."""
EMPTY_SHARE = 0.98
"""Of the pixels that have nearly one value, from which a picture is empty."""
FEWEST = 8
"""Pictures below which nothing is far from the rest."""
FEW = 20
"""Training pictures below which a class is small, and test pictures below which it is hard to judge."""
USUAL = 0.9
"""The share of right answers for which half-widths are told."""
WIDE = 0.05
"""Half-width of the test accuracy's interval from which a test set is small."""
Values = NDArray[Any]


def odd_pictures(looks: Looks) -> Iterator[Finding]:
    """Yield what is odd about pictures as such, unreadable ones first; an empty one is not called dark too."""
    for i, why in looks.faults.items():
        yield Finding(kinds.UNREADABLE, picture=i, note=why)
    empty = looks.readable & (looks.one_value >= EMPTY_SHARE)
    yield from _found(kinds.EMPTY, empty, -looks.one_value, looks.one_value)
    seen = looks.readable & ~empty
    if seen.sum() < FEWEST:
        return
    height, width = np.maximum(looks.height, 1), np.maximum(looks.width, 1)
    side, shape = np.log2(height * width) / 2, np.abs(np.log2(width / height))
    size_off, shape_off = (_distance(values, seen) for values in (side, shape))
    far = seen & (np.abs(size_off) > _limit(size_off, seen, LEAST_SIZE, TIMES_SIZE))
    yield from _found(kinds.ODD_SIZE, far, -np.abs(size_off), 2**size_off)
    far = seen & (np.abs(shape_off) > _limit(shape_off, seen, LEAST_SHAPE, TIMES_SIZE))
    yield from _found(kinds.ODD_SHAPE, far, -np.abs(shape_off), 2**shape)
    bright, dark, blur = (_distance(v, seen) for v in (looks.bright_end, looks.dark_end, looks.blur))
    far = seen & (looks.bright_end < DARK_BELOW) & (-bright > _limit(bright, seen, LEAST_GREY))
    yield from _found(kinds.DARK, far, bright, looks.bright_end)
    far = seen & (looks.dark_end > BRIGHT_ABOVE) & (dark > _limit(dark, seen, LEAST_GREY))
    yield from _found(kinds.BRIGHT, far, -dark, looks.dark_end)
    far = seen & (blur > _limit(blur, seen, LEAST_BLUR))
    yield from _found(kinds.BLURRED, far, -blur, looks.blur)


def _distance(values: Values, seen: Values) -> Values:
    """Return how far each value is from the median of those seen."""
    distance: Values = values - np.median(values[seen])
    return distance


def _limit(distance: Values, seen: Values, least: float, times: float = TIMES) -> float:
    """Return from which distance on values are far."""
    return max(least, times * 1.4826 * float(np.median(np.abs(distance[seen]))))


def _found(kind: Kind, which: Values, order: Values, values: Values) -> Iterator[Finding]:
    """Yield the pictures of a mask, those of the lowest `order` first."""
    chosen = np.flatnonzero(which)
    for i in chosen[np.argsort(order[chosen], kind="stable")].tolist():
        yield Finding(kind, float(values[i]), i)


def small_numbers(pictures: Pictures) -> Iterator[Finding]:
    """Yield classes with few pictures, and test sets that say little, with what they can say."""
    if not pictures.labelled:
        return
    for label, count in enumerate(pictures.counts("train")):
        if count < FEW:
            yield Finding(kinds.SMALL_CLASS, count, split="train", label=pictures.class_names[label])
    if "test" not in pictures.splits:
        held = round(TEST_SHARE * len(pictures.rows("train")))
        if held and half_width(held) > WIDE:
            yield Finding(
                kinds.SMALL_TEST, half_width(held), note=f"{words(held)}, were a fifth held out", split="test"
            )
        return
    for label, count in enumerate(pictures.counts("test")):
        if count < FEW:
            yield Finding(
                kinds.FEW_TO_JUDGE,
                count,
                note=words(count) if count else "no test pictures",
                split="test",
                label=pictures.class_names[label],
            )
    tested = len(pictures.rows("test"))
    if half_width(tested) > WIDE:
        yield Finding(kinds.SMALL_TEST, half_width(tested), note=words(tested), split="test")


def half_width(n: int, share: float = USUAL) -> float:
    """Return half the width of Wilson's 95 % interval where a share of `n` answers is right."""
    low, high = share_interval(round(share * n), n)
    return (high - low) / 2


def words(n: int) -> str:
    """Return what so many test pictures can say."""
    return f"{n} pictures: 90 % right is known to ± {100 * half_width(n):.1f} points"
