"""Which images each rank sees at each step, in batches or episodes, and where its randomness comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

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


@dataclass(frozen=True)
class SameOrder(Schedule):
    """The images of another schedule at the same time, with augmentations of their own."""

    other: Schedule

    @classmethod
    def of(cls, other: Schedule) -> SameOrder:
        """Return a schedule in the order of `other`, whose seed decides augmentations alone."""
        same = {field.name: getattr(other, field.name) for field in fields(Schedule)}
        return cls(**{**same, "seed": derived_seed("second view", other.seed)}, other=other)

    def index(self, epoch: int) -> tuple[Tensor, Tensor]:
        """See `Schedule.index`."""
        return self.other.index(epoch)


@dataclass(frozen=True)
class EpisodeSize:
    """What an episode consists of.

    Attributes:
        ways: classes.
        shots: images of each class to learn from.
        queries: images of each class to judge by.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 15

    @property
    def per_class(self) -> int:
        """Images of each class."""
        return self.shots + self.queries

    @property
    def images(self) -> int:
        """Images in all."""
        return self.ways * self.per_class


def rows_by_class(labels: Tensor, size: EpisodeSize) -> list[Tensor]:
    """Return the images of each class that has enough for an episode.

    Raises:
        PretaskError: fewer classes than ways have.
    """
    counts = torch.bincount(labels).tolist()
    rows = [(labels == c).nonzero()[:, 0] for c, count in enumerate(counts) if count >= size.per_class]
    if len(rows) < size.ways:
        raise PretaskError(
            f"{size.ways}-way episodes need {size.ways} classes with {size.per_class} images or more, here are "
            f"{len(rows)}: type a smaller --ways, --shots or --queries, or give more classes or images"
        )
    return rows


def draw_episode(rows: list[Tensor], size: EpisodeSize, draws: torch.Generator) -> Tensor:
    """Return the images of one episode, int64 [ways, shots + queries]; none is drawn twice."""
    classes = torch.randperm(len(rows), generator=draws)[: size.ways].tolist()
    return torch.stack(
        [rows[c][torch.randperm(len(rows[c]), generator=draws)[: size.per_class]] for c in classes]
    )


@dataclass(frozen=True)
class EpisodeSchedule(Schedule):
    """Steps that are episodes, class by class; rank r of W takes every W-th."""

    labels: Tensor
    size: EpisodeSize

    @classmethod
    def make(
        cls, labels: Tensor, size: EpisodeSize, steps: int, seed: int, rank: int, world_size: int
    ) -> EpisodeSchedule:
        """Return `steps` episodes per epoch.

        Raises:
            PretaskError: see `rows_by_class`.
        """
        rows_by_class(labels, size)
        return cls(len(labels), size.images, steps, True, seed, rank, world_size, None, labels, size)

    def index(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Return (image indices, none of which only pads), int64 and bool [steps, images]; see `Schedule.index`."""
        rows = rows_by_class(self.labels, self.size)
        drawn = []
        for step in range(self.steps):
            draws = generator("episode", self.seed, epoch, step * self.world_size + self.rank)
            drawn.append(draw_episode(rows, self.size, draws).flatten())
        index = torch.stack(drawn)
        return index, torch.zeros_like(index, dtype=torch.bool)
