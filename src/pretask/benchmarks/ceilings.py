"""The most that a machine does, measured: products of matrices, and bytes to and from memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from pretask.benchmarks.timing import time_once

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
