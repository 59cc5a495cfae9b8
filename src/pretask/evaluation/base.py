"""What an evaluator is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pretask.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from pretask.data.images.containers import ImageData


class Evaluator(Protocol):
    """Measures a classifier on a data set.

    Options (split, batch size, device, …) belong to the constructor; what changes a figure is in `protocol`.
    """

    name: str
    protocol: str

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return the figures as JSON-able Python values; `None` stands for one that does not exist."""
        ...


EVALUATORS: Registry[Callable[..., Evaluator]] = Registry("evaluator", "pretask.evaluation")
"""What makes an evaluator, by name; it takes the options of `Evaluator`."""
