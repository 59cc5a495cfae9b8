"""The moving average of a network, which gives targets that change slowly."""

from __future__ import annotations

import copy
import math
from itertools import chain

import torch
from torch import Tensor, nn


class MovingAverage(nn.Module):
    """A copy of modules that follows them: w ← m·w + (1 − m)·w_online, without gradient.

    m rises from its start to 1 along a cosine over the training (Grill et al. 2020, section 3.3). Statistics of
    normalisation are the copy's own.

    Args:
        online: modules that are called one after the other.
        start: m at the beginning, 0 ≤ m < 1.
    """

    momentum: Tensor

    def __init__(self, online: tuple[nn.Module, ...], start: float) -> None:
        super().__init__()
        self.stages = nn.ModuleList(copy.deepcopy(module) for module in online)
        for weight in self.parameters():
            weight.requires_grad_(False)
        self.start = start
        self.register_buffer("momentum", torch.tensor(start), persistent=False)

    def set_progress(self, fraction: float) -> None:
        """Set m for a share of the training that is done, 0 … 1."""
        self.momentum.fill_(1 - (1 - self.start) * (math.cos(math.pi * fraction) + 1) / 2)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def follow(self, online: tuple[nn.Module, ...]) -> None:
        """Take one step towards the modules."""
        leaders = list(chain.from_iterable(module.parameters() for module in online))
        weight = (1 - self.momentum).to(leaders[0].dtype)
        for mine, theirs in zip(self.parameters(), leaders, strict=True):
            mine.lerp_(theirs, weight)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return what the last stage makes of `x`."""
        for stage in self.stages:
            x = stage(x)
        return x
