"""A bound on the memory that the making of a network takes: a name of ten signs can stand for billions of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pretask.errors import PretaskError

_BEYOND = ("overflow", "allocate", "out of memory")
"""In what torch says of sizes that no machine, or not this one, has memory for."""


class TooLarge(PretaskError):
    """More memory was asked for than there may be."""


@contextmanager
def at_most(nbytes: int, why: str) -> Iterator[None]:
    """Refuse to make more than so many bytes of new tensors, all together; those without storage do not count.

    A tensor that goes beyond them is made, if the system gives as much, and dropped before anything is written to it.

    Args:
        nbytes: the bound.
        why: where it comes from, after "more than 1.2 GB, ".

    Raises:
        TooLarge: within.
    """
    with _Counting(nbytes, why):
        yield


class _Counting(TorchFunctionMode):
    """Adds up the bytes that functions without a tensor among their arguments make: those that begin tensors."""

    def __init__(self, most: int, why: str) -> None:
        super().__init__()
        self._left, self._error = most, f"more than {most / 1e9:.1f} GB, {why}"

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        if _has_tensor(arguments):
            return function(*arguments, **(named or {}))
        try:
            made = function(*arguments, **(named or {}))
        except RuntimeError as fault:
            if any(word in str(fault) for word in _BEYOND):
                raise TooLarge(f"the network takes {self._error}") from None
            raise
        if isinstance(made, torch.Tensor) and made.device.type != "meta":
            self._left -= made.nbytes
            if self._left < 0:
                raise TooLarge(f"the network takes {self._error}")
        return made


def _has_tensor(arguments: Sequence[Any]) -> bool:
    return any(isinstance(argument, torch.Tensor) for argument in arguments)
