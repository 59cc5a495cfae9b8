"""Random changes of images on the device, within a training step."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pretask.methods.base import uncompiled


class RandomChange(nn.Module, ABC):
    """Images [B, C, H, W] in [0, 1] → images of the same shape and range; what a step does to images at random.

    It computes in the precision of the images whatever the step around it does: autocast would round the places of
    pixels to bf16, and with them what the network sees. It has no gradient, and is not compiled.
    """

    @uncompiled
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return a changed version of each image, a new tensor."""
        with torch.autocast(images.device.type, enabled=False):
            return self.change(images)

    @abstractmethod
    def change(self, images: Tensor) -> Tensor:
        """Change the images; see the class."""
