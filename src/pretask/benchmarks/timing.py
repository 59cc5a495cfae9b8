"""Timing pieces of work against each other: in one process, in turn, so that what slows the machine slows all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """Of two pieces' times over the same rounds: the median, and the quartiles."""

    median: float
    low: float
    high: float


def interleave(
    pieces: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    warm_up: int = 1,
    rest: float = 0.0,
) -> dict[str, list[float]]:
    """Run each piece once in each round, in alternating order, and return the seconds of each, one per round.

    Args:
        pieces: by name.
        rounds: that count, at least one.
        device: is waited for before and after each piece.
        warm_up: rounds before them that do not count.
        rest: seconds between pieces, in which what one has left running in other processes comes to its end.
    """
    seconds: dict[str, list[float]] = {name: [] for name in pieces}
    names = list(pieces)
    for round_ in range(warm_up + rounds):
        for name in names if round_ % 2 else reversed(names):
            time.sleep(rest)
            taken = time_once(pieces[name], device)
            if round_ >= warm_up:
                seconds[name].append(taken)
    return seconds


def time_once(piece: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, the device's work included."""
    _wait(device)
    started = time.perf_counter()
    piece()
    _wait(device)
    return time.perf_counter() - started


def ratio(own: Sequence[float], other: Sequence[float]) -> Ratio:
    """Return own/other, round by round; with fewer than two rounds the quartiles are the median."""
    ratios = [mine / theirs for mine, theirs in zip(own, other, strict=True)]
    if len(ratios) < 2:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(middle, low, high)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
