"""Images kept on a device as uint8, once for all loaders that show them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from pretask.data.augment import Recipe
from pretask.data.fitting import enough, fit, mixed_channels, resize_cover, zoomed
from pretask.data.images import ArrayImages, ImageStore
from pretask.data.parallel import map_indices


@dataclass(frozen=True, eq=False)
class HeldPixels:
    """Pixels on a device.

    Attributes:
        source: what they were made from; kept alive, since its id is the key under which they are found.
        pixels: uint8 [m, C, h, w].
    """

    source: object
    pixels: Tensor


@dataclass(frozen=True)
class _Plan:
    """How images are stored: at which size, and whether they have it, or are fitted or only resized to it."""

    size: tuple[int, int]
    how: str


_Key = tuple[int, _Plan, str]
_HELD: weakref.WeakValueDictionary[_Key, HeldPixels] = weakref.WeakValueDictionary()


def hold(
    images: ImageStore, image_size: tuple[int, int], recipe: Recipe, device: torch.device
) -> tuple[HeldPixels, Tensor | None]:
    """Bring images to the device, unless they are there.

    An array of the right size stays where it is on the CPU. Photos for a resized crop are stored at 256/224
    of `image_size`, so that crops keep detail.

    Returns:
        the pixels, and for each image its row among them, int64 [n] on the device; None where they agree.

    Raises:
        PretaskError: an image cannot be read, or has other channels than the rest.
    """
    plan = _plan(images, image_size, recipe)
    rows: Tensor | None = None
    source: object = images
    if isinstance(images, ArrayImages) and plan.how == "ready" and _shares(images, device):
        source, rows = images.storage, images.rows
    key = (id(source), plan, str(device))
    held = _HELD.get(key)
    if held is None:
        held = HeldPixels(source, _load(source, plan, image_size, device))
        _HELD[key] = held
    return held, None if rows is None else rows.to(device)


def held_bytes(images: ImageStore, image_size: tuple[int, int], recipe: Recipe) -> int:
    """Return the bytes of these images as they would be stored."""
    height, width = _plan(images, image_size, recipe).size
    return len(images) * _channels(images) * height * width


def lies_ready(images: ImageStore, image_size: tuple[int, int], device: torch.device) -> bool:
    """Say whether the images are in the device's memory already, at this size."""
    return isinstance(images, ArrayImages) and _size(images) == image_size and images.storage.device == device


def _plan(images: ImageStore, image_size: tuple[int, int], recipe: Recipe) -> _Plan:
    if isinstance(images, ArrayImages) and _size(images) == image_size:
        return _Plan(image_size, "ready")
    if recipe.crop == "resized":
        return _Plan(zoomed(image_size), "resized")
    return _Plan(image_size, "fitted")


def _shares(images: ArrayImages, device: torch.device) -> bool:
    """Say whether to hold the whole storage: always where it lies, elsewhere if most of it is shown."""
    return images.storage.device == device or 2 * len(images) >= len(images.storage)


def _load(source: object, plan: _Plan, image_size: tuple[int, int], device: torch.device) -> Tensor:
    if isinstance(source, Tensor):
        return source.to(device).contiguous()
    assert isinstance(source, ImageStore)
    if isinstance(source, ArrayImages) and plan.how == "ready":
        return source.array.to(device)
    channels = _channels(source)
    change = fit if plan.how == "fitted" else resize_cover

    def load(i: int) -> Tensor:
        image = source.read(i, enough(image_size))
        if image.shape[0] != channels:
            raise mixed_channels(source.describe(i), image.shape[0], channels)
        return change(image, plan.size)

    pixels = torch.empty(len(source), channels, *plan.size, dtype=torch.uint8, device=device)
    for i, image in enumerate(map_indices(load, range(len(source)), "reading images")):
        pixels[i] = image
    return pixels


def _size(images: ArrayImages) -> tuple[int, int]:
    return images.storage.shape[2], images.storage.shape[3]


def _channels(images: ImageStore) -> int:
    return images.channels or images.header(0).channels
