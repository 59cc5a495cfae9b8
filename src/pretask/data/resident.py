"""Batches of images that live on the device as uint8."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pretask.data import batched
from pretask.data.augment import Recipe
from pretask.data.batches import FILLER, Batch, send, to_pixels
from pretask.data.held import hold
from pretask.data.images import LabelledImages
from pretask.data.randaugment import randaugment
from pretask.data.schedule import Schedule, derived_seed, generator


class ResidentLoader:
    """Batches of a split that is kept on the device.

    Pixels are stored once, as uint8: on the CPU an array of the right size is used where it lies, and loaders
    of the same images on the same device share them. Crop and flip are done per batch, on the device.

    Args:
        split: the images and labels.
        image_size: (height, width) of a batch.
        schedule: which images come when.
        recipe: the augmentation. Photos for a resized crop are stored at 256/224 of `image_size`, so that
            crops keep detail: of an oblong photo the middle square is all that is ever seen.
        channels_last: memory format of the batches.

    Raises:
        PretaskError: an image cannot be read, or has other channels than the rest.
    """

    kind = "resident"

    def __init__(
        self,
        split: LabelledImages,
        *,
        image_size: tuple[int, int],
        schedule: Schedule,
        recipe: Recipe,
        device: torch.device,
        channels_last: bool = False,
    ) -> None:
        self.image_size = image_size
        self.schedule = schedule
        self.recipe = recipe
        self.device = device
        self.channels_last = channels_last
        self.batch_size = schedule.batch_size
        self.num_images = len(split)
        self._held, self._rows = hold(split.images, image_size, recipe, device)
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
            if self.recipe.randaugment:
                images = self._randaugment(images, epoch, names[step])
            yield Batch(to_pixels(images, self.channels_last), labels[step], index[step])

    def close(self) -> None:
        """Do nothing: no process runs beside this loader."""

    def _augment(self, images: Tensor, epoch: int, step: int) -> Tensor:
        if not (self.recipe.crop or self.recipe.flip):
            return images
        schedule = self.schedule
        stored = (images.shape[-2], images.shape[-1])
        source = generator("augment", schedule.seed, epoch, step)
        # Drawn for all ranks, so that an image's crop does not depend on how many there are.
        table = batched.draw(self.recipe, schedule.global_batch, stored, self.image_size, source)
        mine = send(table[:, schedule.my_slice()], self.device)
        return batched.apply(images, self.recipe, mine, self.image_size)

    def _randaugment(self, images: Tensor, epoch: int, names: Tensor) -> Tensor:
        seeds = [derived_seed("randaugment", self.schedule.seed, epoch, name) for name in names.tolist()]
        return torch.stack([randaugment(image, seed) for image, seed in zip(images, seeds, strict=True)])
