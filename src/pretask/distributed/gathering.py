"""Sums and rows over a batch that is split among processes, with the gradient that one process would have."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def several_ranks() -> bool:
    """Whether this process is one of several of a run."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


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
    if not several_ranks():
        return value
    total: Tensor = _SumOverRanks.apply(value)
    return total


def mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, or the tensor itself where there is one."""
    total = sum_over_ranks(value)
    return total if total is value else total / dist.get_world_size()


def from_first_rank(drawn: Tensor) -> Tensor:
    """Return the first process's tensor, without gradient, on all; the tensor itself where there is one process.

    A sum to which the others add zeros: a compiled step holds sums, but would be cut in two by a broadcast.
    """
    if not several_ranks():
        return drawn
    first = drawn.detach().clone() if dist.get_rank() == 0 else torch.zeros_like(drawn)
    dist.all_reduce(first)
    return first


class _Gather(Function):
    """All-gather whose gradient is what all processes together send back to the own rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        shards = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(shards, rows.contiguous())
        return torch.cat(shards)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.count
        return total[first : first + ctx.count]


def gather_over_ranks(rows: Tensor) -> Tensor:
    """Return the rows [W·B, …] of all processes, in their order; the tensor itself where there is one process.

    A loss of the gathered rows, the mean of whose gradients over processes is taken, has the gradient that one process
    with all rows would have.
    """
    if not several_ranks():
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered
