"""Counting what a training step asks of the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Work:
    """Of one step.

    Attributes:
        flops: of products and convolutions, forward and backward; a multiplication and an addition are two.
        nbytes: read and written by operations run one by one. Fused ones move fewer.
    """

    flops: float
    nbytes: float


def count_work(step: Callable[[], object]) -> Work:
    """Run a step once and count; it must not be compiled."""
    counted, moved = FlopCounterMode(display=False), _Bytes()
    with counted, moved:
        step()
    return Work(float(counted.get_total_flops()), float(moved.nbytes))


class _Bytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the sizes of the tensors that operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nbytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not _is_view(func):
            tensors = [item for item in tree_iter((args, kwargs, out)) if isinstance(item, Tensor)]
            self.nbytes += sum(tensor.nbytes for tensor in tensors)
        return out


def _is_view(func: Any) -> bool:
    return isinstance(func, torch._ops.OpOverload) and func.is_view
