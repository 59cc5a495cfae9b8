"""Small features whose answers can be worked out another way."""

from __future__ import annotations

import torch
from torch import nn

from pretask.data.images.containers import ArrayImages, ImageData, LabelledImages


class Flat(nn.Module):
    """Features are the pixels, times a gain; `seen` holds whether it was in training mode, once per mode."""

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.seen = []

    def embed(self, images):
        if self.training not in self.seen:
            self.seen.append(self.training)
        return images.flatten(1) * self.gain


def points(n, seed, classes=3, size=16, spread=45.0):
    """Bytes [n, size] around a centre for each class, and labels [n], classes in turn."""
    centres = 60 + 130 * torch.rand(classes, size, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    values = centres[labels] + spread * torch.randn(n, size, generator=generator)
    return values.clamp(0, 255).round().byte(), labels


def blobs(train=60, validation=30, test=45):
    """Overlapping clouds of three classes as images of 4x4."""

    def split(n, seed):
        values, labels = points(n, seed)
        return LabelledImages(ArrayImages(values.reshape(n, 1, 4, 4)), labels)

    return ImageData(
        name="blobs",
        train=split(train, 0),
        validation=split(validation, 1),
        test=split(test, 2),
        class_names=("a", "b", "c"),
        channels=1,
        image_size=(4, 4),
        mean=(0.5,),
        std=(0.25,),
        augment="none",
    )


def features(n, seed, **options):
    """Return float values in [0, 1] and labels of such clouds."""
    values, labels = points(n, seed, **options)
    return values.float() / 255, labels
