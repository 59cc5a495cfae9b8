"""Means over a batch that is split among processes, with the gradient that one process would have."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


class _SumOverRanks(Function):
    """All-reduce whose gradient is the all-reduce of the gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def sum_over_ranks(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, or the tensor itself where there is one."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return value
    total: Tensor = _SumOverRanks.apply(value)
    return total


def mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, or the tensor itself where there is one."""
    total = sum_over_ranks(value)
    return total if total is value else total / dist.get_world_size()
