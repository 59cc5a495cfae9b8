"""A network small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pretask.methods import Method, MethodParts, create_method
from pretask.pretexts import create_pretexts


class TinyBackbone(nn.Module):
    """Images [B, 3, 4, 4] → tanh features [B, 5]."""

    num_features = 5

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)).tanh()


@pytest.fixture
def build() -> Callable[..., Method]:
    """Makes a method over 3 classes with a tiny backbone in double precision."""

    def make(name: str, pretext: str = "rotation", **options: Any) -> Method:
        torch.manual_seed(0)
        parts = MethodParts(
            backbone=TinyBackbone(),
            class_counts=torch.tensor([5, 3, 2]),
            mean=(0.5, 0.4, 0.3),
            std=(0.2, 0.3, 0.25),
            pretexts=create_pretexts(pretext),
        )
        return create_method(name, parts, **options).double()

    return make


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Six images [6, 3, 4, 4] in [0, 1] with labels."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 3, 4, 4, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
