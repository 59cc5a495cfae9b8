"""All images on the device as uint8, augmented by the batch."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pretask.data.fitting import LARGE_SIDE, as_evaluated, covering, zoomed
from pretask.data.images.containers import ArrayImages, ImageStore, LabelledImages
from pretask.data.images.decode import mixed_channels
from pretask.data.loaders import augmentation as batched
from pretask.data.loaders.augmentation import Augmentation, randaugment
from pretask.data.loaders.batches import FILLER, Batch, send, to_pixels
from pretask.data.loaders.schedule import Schedule, derived_seed, generator
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
    images: ImageStore, image_size: tuple[int, int], augmentation: Augmentation, device: torch.device
) -> tuple[HeldPixels, Tensor | None]:
    """Bring images to the device, unless they are there.

    An array of the right size stays where it is on the CPU. Photos for a resized crop are stored at 256/224
    of `image_size`, so that crops keep detail.

    Returns:
        the pixels, and for each image its row among them, int64 [n] on the device; None where they agree.

    Raises:
        PretaskError: an image cannot be read, or has other channels than the rest.
    """
    plan = _plan(images, image_size, augmentation)
    rows: Tensor | None = None
    source: object = images
    if isinstance(images, ArrayImages) and plan.how == "ready" and _shares(images, device):
        source, rows = images.storage, images.rows
    key = (id(source), plan, str(device))
    held = _HELD.get(key)
    if held is None:
        held = HeldPixels(source, _load(source, plan, device))
        _HELD[key] = held
    return held, None if rows is None else rows.to(device)


def held_bytes(images: ImageStore, image_size: tuple[int, int], augmentation: Augmentation) -> int:
    """Return the bytes of these images as they would be stored."""
    height, width = _plan(images, image_size, augmentation).size
    return len(images) * _channels(images) * height * width


def lies_ready(images: ImageStore, image_size: tuple[int, int], device: torch.device) -> bool:
    """Say whether the images are in the device's memory already, at this size."""
    return isinstance(images, ArrayImages) and _size(images) == image_size and images.storage.device == device


def decoded(images: ImageStore, image_size: tuple[int, int], augmentation: Augmentation) -> ImageStore:
    """Return images in memory, so large that every loader makes the same batches of them as of the originals.

    Images that lie ready are returned as they are, and so are those for which no single size serves training and
    evaluation alike.

    Raises:
        PretaskError: an image cannot be read, or has other channels than the rest.
    """
    plan = _plan(images, image_size, augmentation)
    if max(image_size) > LARGE_SIDE:
        plan = _Plan(zoomed(image_size), "resized")
    if plan.how == "ready" or (plan.how == "resized" and max(image_size) <= LARGE_SIDE):
        return images
    pixels = _load(images, plan, torch.device("cpu"))
    return ArrayImages(pixels, names=[images.describe(i) for i in range(len(images))])


def _plan(images: ImageStore, image_size: tuple[int, int], augmentation: Augmentation) -> _Plan:
    if isinstance(images, ArrayImages) and _size(images) == image_size:
        return _Plan(image_size, "ready")
    if augmentation.crop == "resized":
        return _Plan(zoomed(image_size), "resized")
    return _Plan(image_size, "fitted")


def _shares(images: ArrayImages, device: torch.device) -> bool:
    """Say whether to hold the whole storage: always where it lies, elsewhere if most of it is shown."""
    return images.storage.device == device or 2 * len(images) >= len(images.storage)


def _load(source: object, plan: _Plan, device: torch.device) -> Tensor:
    if isinstance(source, Tensor):
        return source.to(device).contiguous()
    assert isinstance(source, ImageStore)
    if isinstance(source, ArrayImages) and plan.how == "ready":
        return source.array.to(device)
    channels = _channels(source)

    framing = as_evaluated(plan.size) if plan.how == "fitted" else covering(plan.size)

    def load(i: int) -> Tensor:
        image = source.brought(i, framing)
        if image.shape[0] != channels:
            raise mixed_channels(source.describe(i), image.shape[0], channels)
        return image

    pixels = torch.empty(len(source), channels, *plan.size, dtype=torch.uint8, device=device)
    for i, image in enumerate(map_indices(load, range(len(source)), "reading images")):
        pixels[i] = image
    return pixels


def _size(images: ArrayImages) -> tuple[int, int]:
    return images.storage.shape[2], images.storage.shape[3]


def _channels(images: ImageStore) -> int:
    return images.channels or images.header(0).channels


class ResidentLoader:
    """Batches of a split that is kept on the device.

    Pixels are stored once, as uint8: on the CPU an array of the right size is used where it lies, and loaders
    of the same images on the same device share them. Crop and flip are done per batch, on the device.

    Args:
        split: the images and labels.
        image_size: (height, width) of a batch.
        schedule: which images come when.
        augmentation: the augmentation. Photos for a resized crop are stored at 256/224 of `image_size`, so that
            crops keep detail: of an oblong photo the middle square is all that is ever seen.
        channels_last: memory format of the batches.

    Raises:
        PretaskError: an image cannot be read, or has other channels than the rest.
    """

    kind = "resident"
    note = ""

    def __init__(
        self,
        split: LabelledImages,
        *,
        image_size: tuple[int, int],
        schedule: Schedule,
        augmentation: Augmentation,
        device: torch.device,
        channels_last: bool = False,
    ) -> None:
        self.image_size = image_size
        self.schedule = schedule
        self.augmentation = augmentation
        self.device = device
        self.channels_last = channels_last
        self.batch_size = schedule.batch_size
        self.num_images = len(split)
        self._held, self._rows = hold(split.images, image_size, augmentation, device)
        self._labels = split.labels.to(device)

    @property
    def pixels(self) -> Tensor:
        """The stored images, uint8 [m, C, h, w] on the device; a subset may share a larger array."""
        return self._held.pixels

    @property
    def nbytes(self) -> int:
        return int(self.pixels.nbytes)

    def __len__(self) -> int:
        return self.schedule.steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches `start`… of an epoch."""
        names, padded = self.schedule.index(epoch)  # on the CPU; the copies below are for the device
        index = send(names, self.device)
        labels = self._labels[index].masked_fill_(send(padded, self.device), FILLER)
        rows = index if self._rows is None else self._rows[index]
        for step in range(start, len(self)):
            images = self._augment(self.pixels.index_select(0, rows[step]), epoch, step)
            if self.augmentation.randaugment:
                images = self._randaugment(images, epoch, names[step])
            yield Batch(to_pixels(images, self.channels_last), labels[step], index[step])

    def close(self) -> None:
        """Do nothing: no process runs beside this loader."""

    def _augment(self, images: Tensor, epoch: int, step: int) -> Tensor:
        if not (self.augmentation.crop or self.augmentation.flip):
            return images
        schedule = self.schedule
        stored = (images.shape[-2], images.shape[-1])
        source = generator("augment", schedule.seed, epoch, step)
        # Drawn for all ranks, so that an image's crop does not depend on how many there are.
        table = batched.draw(self.augmentation, schedule.global_batch, stored, self.image_size, source)
        mine = send(table[:, schedule.my_slice()], self.device)
        return batched.apply(images, self.augmentation, mine, self.image_size)

    def _randaugment(self, images: Tensor, epoch: int, names: Tensor) -> Tensor:
        seeds = [derived_seed("randaugment", self.schedule.seed, epoch, name) for name in names.tolist()]
        return torch.stack([randaugment(image, seed) for image, seed in zip(images, seeds, strict=True)])
