"""Random views of images, made on the device, and how strong they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretask.errors import import_extra, unknown_name
from pretask.methods.random_change import RandomChange

LARGEST_SMALL_IMAGE = 64


@dataclass(frozen=True)
class Strength:
    """What is done to each view of an image, in this order; shares are probabilities.

    Attributes:
        crop: smallest share of the area that a crop keeps; it is resized to the image's size.
        flip, vertical_flip: share of mirrored images.
        jitter: largest relative change of brightness, contrast, saturation, and turn of the hue (of a full circle).
        jitter_share: share of images whose colours are changed.
        grey: share of images that lose their colours.
        blur: share of images that are blurred, by a Gaussian of 0.1 to 2 pixels.
        solarise: share of images whose bright pixels are inverted.
    """

    description: str
    crop: float
    flip: float
    jitter: tuple[float, float, float, float]
    jitter_share: float = 0.8
    vertical_flip: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    solarise: float = 0.0


STRENGTHS = {
    "small": Strength(
        "small colour images: crops of 20 to 100 %, mirrored, colours changed, some grey",
        crop=0.2, flip=0.5, jitter=(0.4, 0.4, 0.4, 0.1), grey=0.2,
    ),
    "photo": Strength(
        "photos: crops of 8 to 100 %, mirrored, colours changed, some grey, blurred or solarised",
        crop=0.08, flip=0.5, jitter=(0.4, 0.4, 0.2, 0.1), grey=0.2, blur=0.5, solarise=0.1,
    ),
    "medical": Strength(
        "medical images: crops of 30 to 100 %, mirrored both ways, hardly another hue",
        crop=0.3, flip=0.5, vertical_flip=0.5, jitter=(0.4, 0.4, 0.2, 0.02),
    ),
    "upright": Strength(
        "grey images of which left and right matter, such as characters: crops of 30 to 100 %, brightness and contrast",
        crop=0.3, flip=0.0, jitter=(0.4, 0.4, 0.0, 0.0),
    ),
}  # fmt: skip
"""small: Chen et al. 2020 (arXiv 2002.05709, appendix B.9) with milder crops; photo: Grill et al. 2020 (arXiv
2006.07733, appendix B), both views alike; the others are ours."""


def get_strength(name: str) -> Strength:
    """Return a strength; an unknown name is a `PretaskError` that names the nearest one."""
    if name not in STRENGTHS:
        raise unknown_name("strength of views", name, STRENGTHS)
    return STRENGTHS[name]


def recommended_strength(image_size: tuple[int, int], channels: int, mirrors: bool) -> str:
    """Return the name of the strength for a kind of images.

    Args:
        image_size: (height, width).
        channels: 1 or 3.
        mirrors: whether they may be mirrored.
    """
    if channels != 3:
        return "medical" if mirrors else "upright"
    return "small" if max(image_size) <= LARGEST_SMALL_IMAGE else "photo"


_RATIO = (3 / 4, 4 / 3)
_BLUR_SIGMA = (0.1, 2.0)


class RandomViews(RandomChange):
    """Images [B, C, H, W] in [0, 1] → one random view of each; see `RandomChange`.

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

    def change(self, images: Tensor) -> Tensor:
        """Return a view of each image, in the memory format of the batch."""
        # Kornia keeps the last parameters on its modules; channels_last batches come back contiguous.
        views: Tensor = self.steps(images).clamp(0, 1)  # interpolation may round beyond
        if images.is_contiguous(memory_format=torch.channels_last):
            return views.contiguous(memory_format=torch.channels_last)
        return views.contiguous()


def _steps(strength: Strength, image_size: tuple[int, int], channels: int) -> nn.Module:
    kornia = import_extra("kornia.augmentation", "pretrain", "random views of images")
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
