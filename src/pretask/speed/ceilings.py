"""What this machine could do at best: ceilings, and how pieces are timed in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
        rounds: that count, at least 1.
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


_SIZES = {"cpu": (768, 1536), "cuda": (4096, 8192)}
_COPIED = {"cpu": 2**28, "cuda": 2**30}


@dataclass(frozen=True)
class Ceilings:
    """Of one device.

    Attributes:
        flops: floating-point operations per second in products of square matrices, the best of two sizes.
        bandwidth: bytes per second that a copy reads and writes, far beyond the caches.
    """

    flops: float
    bandwidth: float

    def bound(self, flops: float, nbytes: float) -> float:
        """Return the seconds that work takes at least: at one ceiling or the other."""
        return max(flops / self.flops, nbytes / self.bandwidth)


class CeilingProbe:
    """Measures the ceilings of a device for one type of number whenever it is asked, and keeps the best.

    Args:
        device: what is measured.
        dtype: of the matrices.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._products = {size: _product(size, device, dtype) for size in _SIZES[device.type]}
        self._source, self._target = (torch.zeros(_COPIED[device.type] // 4, device=device) for _ in range(2))
        self._flops = self._bandwidth = 0.0
        self._copy()  # pages that nobody wrote to are not there yet

    def measure(self) -> None:
        """Time each product and the copy once."""
        for size, product in self._products.items():
            self._flops = max(self._flops, 2 * size**3 / time_once(product, self._device))
        moved = 2 * self._source.nbytes
        self._bandwidth = max(self._bandwidth, moved / time_once(self._copy, self._device))

    @property
    def best(self) -> Ceilings:
        """The highest that was measured so far."""
        return Ceilings(self._flops, self._bandwidth)

    def _copy(self) -> None:
        self._target.copy_(self._source)


def _product(size: int, device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    """Return a product of two square matrices, made once already."""
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    product = partial(torch.mm, a, b, out=torch.empty_like(a))
    product()
    return product
