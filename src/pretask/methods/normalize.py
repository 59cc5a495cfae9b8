"""From pixels in [0, 1] to what a backbone was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std per channel, for images [B, C, H, W] in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # A channel that never varies carries nothing; dividing by its spread would carry noise.
        scale = [s if s > 1e-6 else 1.0 for s in std]
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(scale).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised images, same shape and memory format."""
        if images.device.type == "cpu" and images.is_contiguous(memory_format=torch.channels_last):
            return self._in_lines(images)
        return (images - self.mean) / self.std

    def _in_lines(self, images: Tensor) -> Tensor:
        """Normalise lines of pixels at once: processors are slow where only the channels lie side by side."""
        C, W = images.shape[1], images.shape[3]
        lines = images.permute(0, 2, 3, 1).flatten(2)
        out: Tensor = (lines - self.mean.flatten().repeat(W)) / self.std.flatten().repeat(W)
        return out.view(*lines.shape[:2], W, C).permute(0, 3, 1, 2)
