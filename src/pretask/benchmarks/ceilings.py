"""The most that a machine does, measured: products of matrices, and bytes to and from memory."""

from __future__ import annotations

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


def measure_ceilings(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> Ceilings:
    """Return the ceilings of a device for one type of number, each the best of `repeats`."""
    flops = 0.0
    for size in _SIZES[device.type]:
        a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty(size, size, device=device, dtype=dtype)
        torch.mm(a, b, out=out)
        product = partial(torch.mm, a, b, out=out)
        best = min(time_once(product, device) for _ in range(repeats))
        flops = max(flops, 2 * size**3 / best)
    count = _COPIED[device.type] // 4
    source, target = (torch.zeros(count, device=device) for _ in range(2))
    target.copy_(source)
    best = min(time_once(lambda: target.copy_(source), device) for _ in range(repeats))
    return Ceilings(flops, 2 * 4 * count / best)
