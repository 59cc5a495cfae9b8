"""Random views of a batch of images, made on its device, each image by its own random numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretask.pretraining.extra import load
from pretask.pretraining.strengths import Strength

_RATIO = (3 / 4, 4 / 3)
_BLUR_SIGMA = (0.1, 2.0)


class RandomViews(nn.Module):
    """Images [B, C, H, W] in [0, 1] → one random view of each, same shape and range, without gradient.

    The draws come from torch's generator of the CPU, so that a resumed training makes the same views.

    Args:
        strength: what is done, and how often.
        image_size: (H, W).
        channels: C; saturation, hue and grey are for three.

    Raises:
        MissingExtra: `kornia` is not installed.
    """

    def __init__(self, strength: Strength, image_size: tuple[int, int], channels: int) -> None:
        super().__init__()
        self.steps = _steps(strength, image_size, channels)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return a view of each image, in the memory format of the batch."""
        # Kornia keeps the last parameters on its modules; channels_last batches come back contiguous.
        views: Tensor = self.steps(images).clamp(0, 1)  # interpolation may round beyond
        if images.is_contiguous(memory_format=torch.channels_last):
            return views.contiguous(memory_format=torch.channels_last)
        return views.contiguous()


def _steps(strength: Strength, image_size: tuple[int, int], channels: int) -> nn.Module:
    kornia = load("kornia.augmentation", "random views of images")
    brightness, contrast, saturation, hue = strength.jitter
    if channels != 3:
        saturation = hue = 0.0
    steps: list[nn.Module] = [
        kornia.RandomResizedCrop(
            image_size, scale=(strength.crop, 1.0), ratio=_RATIO, cropping_mode="resample"
        ),
        kornia.RandomHorizontalFlip(p=strength.flip),
        kornia.RandomVerticalFlip(p=strength.vertical_flip),
        kornia.ColorJitter(brightness, contrast, saturation, hue, p=strength.jitter_share),
    ]
    if channels == 3 and strength.grey:
        steps.append(kornia.RandomGrayscale(p=strength.grey))
    if strength.blur:
        kernel = _blur_kernel(image_size)
        steps.append(kornia.RandomGaussianBlur(kernel, _BLUR_SIGMA, p=strength.blur))
    if strength.solarise:
        steps.append(kornia.RandomSolarize(0.0, 0.0, p=strength.solarise))
    return nn.Sequential(*steps)


def _blur_kernel(image_size: tuple[int, int]) -> tuple[int, int]:
    """Return an odd kernel of about a tenth of each side (Chen et al. 2020), at least 3."""
    height, width = (max(3, side // 10 // 2 * 2 + 1) for side in image_size)
    return height, width
