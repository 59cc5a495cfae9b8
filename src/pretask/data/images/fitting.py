"""Bringing images of any size to the size that the network sees; nothing random."""

from __future__ import annotations

from torch import Tensor

from pretask.errors import PretaskError

LARGE_SIDE = 64
ZOOM = 256 / 224


def resize_cover(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize uint8 [C, h, w] until it just covers `size`, keeping its shape; then cut out the centre."""
    height, width = image.shape[-2:]
    if (height, width) == size:
        return image
    if size[0] * width >= size[1] * height:
        target = [size[0], size[0] * width // height]
    else:
        target = [size[1] * height // width, size[1]]
    from torchvision.transforms.v2 import functional as F

    resized: Tensor = F.resize(image, target, antialias=True)
    cropped: Tensor = F.center_crop(resized, list(size))
    return cropped


def zoomed(size: tuple[int, int]) -> tuple[int, int]:
    """Return `size` × 256/224: what a photo is resized to before its centre, or a part of it, is cut out."""
    return round(size[0] * ZOOM), round(size[1] * ZOOM)


def enough(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) from which an image can be brought to `size` as well as from any larger one.

    Twice of what it is resized to: from there on antialiased resizing hides how the image was reduced before.
    """
    height, width = size if max(size) <= LARGE_SIDE else zoomed(size)
    return 2 * height, 2 * width


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring uint8 [C, h, w] to `size` the way images are evaluated.

    An image that has this size is left alone. Others are resized and their centre is cut out; above 64
    pixels they are resized to 256/224 of the size, so that the centre crop leaves out an eighth, which is
    how ImageNet networks are evaluated.
    """
    if tuple(image.shape[-2:]) == size:
        return image
    if max(size) <= LARGE_SIDE:
        return resize_cover(image, size)
    from torchvision.transforms.v2 import functional as F

    cropped: Tensor = F.center_crop(resize_cover(image, zoomed(size)), list(size))
    return cropped


def mixed_channels(what: str, given: int, expected: int) -> PretaskError:
    """Return the error for an image that has other channels than the rest."""
    return PretaskError(
        f"{what} has {given} channels, the others have {expected}: convert it, or type --skip-bad"
    )
