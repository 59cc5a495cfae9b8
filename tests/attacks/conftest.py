"""Small models to attack, and images."""

from __future__ import annotations

import pytest
import torch
from torch import nn


class Network(nn.Module):
    """Convolution, batch norm and dropout, with statistics that are not those of any batch."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(4 * 6 * 6, classes)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, images):
        return self.head(self.drop(self.norm(self.conv(images)).tanh().flatten(1)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture
def images():
    """Five pictures of 6×6; a third of the values lies on a border of [0, 1]."""
    draw = torch.Generator().manual_seed(1)
    return (torch.rand(5, 3, 6, 6, generator=draw) * 1.5 - 0.25).clamp(0, 1)


@pytest.fixture
def labels():
    return torch.tensor([0, 1, 2, 1, 0])
