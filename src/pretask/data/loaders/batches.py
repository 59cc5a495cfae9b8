"""What a loader hands to a training or an evaluation loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pretask.data.loaders.schedule import Schedule

FILLER = -1
"""The label of a row that only pads the last evaluation batch."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One rank's part of one step, on the device.

    Attributes:
        images: float32 [B, C, H, W] in [0, 1]; second views of its last images may follow.
        labels: int64 [B]; -1 marks rows that only pad an evaluation batch to its full size.
        index: int64 [B], each image's place in the split; a padding row repeats the last image.
    """

    images: Tensor
    labels: Tensor
    index: Tensor


class Loader(Protocol):
    """Batches of one split, on the device, for one rank.

    Attributes:
        batch_size: rows in every batch of this rank, at most what was asked for.
        num_images: images in the split, over all ranks.
        kind: "resident" or "streaming".
        nbytes: bytes of pixels kept on the device.
        note: what a user should know of the way it reads, in a line; empty where there is nothing.
        schedule: which images come when.
    """

    @property
    def note(self) -> str: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def schedule(self) -> Schedule: ...

    @property
    def num_images(self) -> int: ...

    @property
    def kind(self) -> str: ...

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int:
        """Return the batches per epoch on this rank; the same on every rank."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches `start`… of an epoch.

        They depend on (seed, epoch, batch) alone, bit for bit: not on what ran before, and for each image
        not on how many ranks share the work. A loader runs one epoch at a time.
        """
        ...

    def close(self) -> None:
        """Stop worker processes, if there are any; the loader can still be used and starts new ones."""
        ...


def to_pixels(images: Tensor, channels_last: bool) -> Tensor:
    """Turn uint8 [B, C, H, W] into float32 in [0, 1]; on the CPU, values equal `images.float() / 255`."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    pixels = torch.empty(images.shape, dtype=torch.float32, device=images.device, memory_format=layout)
    if channels_last and images.device.type == "cpu":
        for channel in range(images.shape[1]):  # twice as fast as one strided copy
            pixels[:, channel] = images[:, channel]
    else:
        pixels.copy_(images)
    return pixels.div_(255)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a small CPU tensor to the device without waiting for it."""
    pinned = tensor.contiguous().pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)
