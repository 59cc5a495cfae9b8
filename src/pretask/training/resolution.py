"""Training images at lower resolution for the first part of a training: progressive resizing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pretask.errors import PretaskError
from pretask.methods import METHODS, Method
from pretask.training.config import MethodConfig

DEFAULT_SHARE = 0.5


@dataclass(frozen=True)
class LowResolution:
    """How large images are in the first part of a training; full-sized ones follow.

    Attributes:
        scale: of their sides, above 0 and below 1.
        share: of the training, from 0 to 1, in whole epochs.
    """

    scale: float
    share: float

    def size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of an image of this size in the first part."""
        height, width = (max(1, round(side * self.scale)) for side in image_size)
        return height, width

    def work(self, image_size: tuple[int, int]) -> float:
        """Return what an image costs on average over the training, where one of full size costs 1: its pixels."""
        height, width = self.size(image_size)
        return 1 - self.share * (1 - height * width / (image_size[0] * image_size[1]))

    def __call__(self, images: Tensor, progress: float) -> Tensor:
        """Return images [B, C, H, W], averaged down to `size` while `progress`, 0 … 1, is below the share."""
        if progress >= self.share:
            return images
        small: Tensor = F.interpolate(images, self.size((images.shape[-2], images.shape[-1])), mode="area")
        return small


def low_resolution(asked: MethodConfig) -> LowResolution | None:
    """Return what a configuration asks for, or else its method's own; None where images keep their size."""
    own_scale, own_share = METHODS.get(asked.method).default_low_resolution
    scale = own_scale if asked.low_resolution is None else asked.low_resolution
    share = asked.low_resolution_share
    if share is None:
        share = own_share or DEFAULT_SHARE
    return LowResolution(scale, share) if scale < 1 and share > 0 else None


@torch.no_grad()
def check_low_resolution(
    low: LowResolution, method: Method, channels: int, image_size: tuple[int, int]
) -> None:
    """Refuse a size at which the network or a pretext cannot work.

    Raises:
        PretaskError: see above.
    """
    height, width = low.size(image_size)
    for pretext in method.pretexts:
        if pretext.domain == "image":
            pretext.check(channels, height, width)
    try:
        method.encoder.eval()(torch.zeros(1, channels, height, width))
    except Exception as fault:  # networks of fixed input size refuse in ways of their own
        raise PretaskError(
            f"the network cannot take images of {height}x{width} pixels, which --low-resolution {low.scale:g} makes "
            f"({str(fault).splitlines()[0]}): leave it out, or choose a convolutional --backbone"
        ) from fault
    finally:
        method.train()
