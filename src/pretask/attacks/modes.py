"""A model stands still while it is attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def attacked(model: Callable[..., Any]) -> Iterator[None]:
    """Put a model into evaluation mode, and give each of its modules its own mode back, failures included.

    Batch statistics and dropout would otherwise move the target, and the attack would train the running
    statistics. A callable that is no `nn.Module` is left alone.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    if isinstance(model, nn.Module):
        model.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
