"""Which images each rank sees at each step, and where its randomness comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from pretask.data.images.stores import Blocks
from pretask.errors import PretaskError


def derived_seed(*parts: int | str) -> int:
    """Return a seed that depends on `parts` alone, the same on every machine; far apart for near parts."""
    text = "/".join(str(part) for part in parts)
    # torch's CPU generator keeps 32 bits of a seed, so more would only look safer.
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def generator(*parts: int | str) -> torch.Generator:
    """Return a fresh CPU generator for `parts`."""
    return torch.Generator().manual_seed(derived_seed(*parts))


@dataclass(frozen=True)
class Schedule:
    """The order of images over ranks and steps.

    Global batch k is the same list of images however many ranks share it: rank r takes the r-th of
    `world_size` equal slices.

    Attributes:
        num_images: images in the split.
        batch_size: rows per rank and step.
        steps: batches per epoch.
        shuffle: a new order each epoch, and the remainder left out; else in order, the remainder padded.
        blocks: images that are read together, for an order that reads few blocks at a time; None for any order.
    """

    num_images: int
    batch_size: int
    steps: int
    shuffle: bool
    seed: int
    rank: int
    world_size: int
    blocks: Blocks | None

    @classmethod
    def train(
        cls,
        num_images: int,
        batch_size: int,
        seed: int,
        rank: int,
        world_size: int,
        blocks: Blocks | None = None,
    ) -> Schedule:
        """Shuffle, and leave out what does not fill a batch on every rank.

        Raises:
            PretaskError: there are fewer images than ranks.
        """
        size = min(batch_size, num_images // world_size)
        if size == 0:
            raise PretaskError(
                f"{num_images} training images cannot be shared by {world_size} processes: "
                f"start at most {num_images} of them"
            )
        return cls(num_images, size, num_images // (size * world_size), True, seed, rank, world_size, blocks)

    @classmethod
    def evaluate(cls, num_images: int, batch_size: int, rank: int, world_size: int) -> Schedule:
        """Keep the order; make all batches equal, as few as `batch_size` allows, with the least padding."""
        steps = -(-num_images // (batch_size * world_size))
        size = -(-num_images // (steps * world_size))
        return cls(num_images, size, steps, False, 0, rank, world_size, None)

    @property
    def global_batch(self) -> int:
        return self.batch_size * self.world_size

    def index(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Return (image indices, which rows only pad), int64 and bool [steps, batch_size], of this rank."""
        rows = self.steps * self.global_batch
        draws = generator("order", self.seed, epoch)
        if not self.shuffle:
            order = torch.arange(rows)
        elif self.blocks is not None:
            order = self.blocks.shuffled(self.steps, self.global_batch, draws)
        else:
            order = torch.randperm(self.num_images, generator=draws)[:rows]
        mine = order.view(self.steps, self.world_size, self.batch_size)[:, self.rank]
        return mine.clamp(max=self.num_images - 1), mine >= self.num_images

    def my_slice(self) -> slice:
        """Return this rank's rows of a global batch."""
        return slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
