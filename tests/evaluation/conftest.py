"""A loader and a classifier whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn


class ListedLoader:
    """Gives fixed images in batches; rows listed in `fillers` get label -1."""

    kind, nbytes = "resident", 0

    def __init__(self, images, labels, batch_size=4, index=None):
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.index = torch.arange(len(labels)) if index is None else index
        self.num_images = len(labels)

    def __len__(self):
        return -(-self.num_images // self.batch_size)

    def epoch(self, epoch, start=0):
        for k in range(start, len(self)):
            rows = slice(k * self.batch_size, (k + 1) * self.batch_size)
            yield SimpleNamespace(images=self.images[rows], labels=self.labels[rows], index=self.index[rows])


class Corner(nn.Module):
    """Logits are the first `classes` values of the image's first row."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.gain = nn.Parameter(torch.ones(()))
        self.drop = nn.Dropout(0.5)

    def forward(self, images):
        return self.drop(images[:, 0, 0, : self.classes] * self.gain)


@pytest.fixture
def listed_loader():
    """The loader class."""
    return ListedLoader


@pytest.fixture
def corner():
    """The classifier class."""
    return Corner
