"""Episodes: batches of a few classes, drawn anew at each step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pretask.data.loaders.schedule import Schedule, generator
from pretask.errors import PretaskError


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
