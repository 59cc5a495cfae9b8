"""Actions on one patch of an image (LoRot: Moon et al., ECCV 2022; G-SSL: Fuadi et al., arXiv 2301.05865)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.options import options_of
from pretask.pretexts.base import Pretext, repeat_samples
from pretask.pretexts.place import Place, Places
from pretask.specs import write_spec


class PatchPretext(Pretext):
    """An action on a patch of each image; action 0 leaves it as it is.

    The label is the action, or cell·A + action where it also holds the place. Without the place in the label,
    `transform` draws it at random.

    Args:
        places: where patches lie.
        position: whether the label holds the place.
        options: what the constructor was given, by the name of its parameter; makes the name.

    Attributes:
        order: tasks that share a patch act in ascending order.
        num_actions: A.
        places, position: as given.
    """

    order: int
    num_actions: int

    def __init__(self, places: Places, position: bool, options: dict[str, Any]) -> None:
        super().__init__()
        self.name = write_spec(self.name, options_of(type(self)), options)
        self.places, self.position = places, position
        self.num_labels = self.num_actions * (places.num_cells if position else 1)
        self.stochastic = not position and places.num_cells > 1

    @abstractmethod
    def act(self, x: Tensor, place: Place, actions: Tensor) -> Tensor:
        """Change a patch of each image.

        Args:
            x: images [B, C, H, W]; left untouched.
            place: of each image's patch, inside the image.
            actions: int64 [B], each in 0 … A-1.
        """

    @abstractmethod
    def action_names(self) -> list[str]:
        """Return a short name for each action."""

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse images that have no such places."""
        self.places.check(height, width)

    def draw(self, batch: int, height: int, width: int, device: torch.device) -> tuple[Place, Tensor]:
        """Return a place and an action int64 [B] for each of `batch` images, drawn uniformly and independently.

        Images are `height` by `width` pixels; draws are from the global stream of `device`.
        """
        return self.places.draw(batch, height, width, device), self.draw_actions(batch, device)

    def draw_actions(self, batch: int, device: torch.device) -> Tensor:
        """Return an action for each of `batch` images, int64 [B] on `device`, drawn uniformly."""
        return torch.randint(self.num_actions, (batch,), device=device)

    def place_labels(self, place: Place, actions: Tensor) -> Tensor:
        """Return the labels, int64 [B], of `actions` [B] that were done at `place`."""
        return place.cell * self.num_actions + actions if self.position else actions

    def transform(self, x: Tensor, labels: Tensor) -> Tensor:
        """Change a patch of each image by its label; see `Pretext.transform`."""
        self.check(*x.shape[1:])
        batch, _, height, width = x.shape
        if self.position:
            place = self.places.at(labels // self.num_actions, height, width)
        else:
            place = self.places.draw(batch, height, width, x.device)
        return self.act(x, place, labels % self.num_actions)

    def views(self, x: Tensor) -> Tensor:
        """Return all versions, sample-major; without the place in the label, all actions at one drawn place.

        See `Pretext.views`.
        """
        if self.position:
            return super().views(x)
        self.check(*x.shape[1:])
        batch, _, height, width = x.shape
        place = self.places.draw(batch, height, width, x.device).repeat(self.num_actions)
        actions = torch.arange(self.num_actions, device=x.device).repeat(batch)
        return self.act(repeat_samples(x, self.num_actions), place, actions)

    def label_names(self) -> list[str]:
        """Return the actions, with the place where the label holds it."""
        if not self.position:
            return self.action_names()
        return [f"{action} at {cell}" for cell in self.places.cell_names() for action in self.action_names()]


def transform_shared(pretexts: Sequence[PatchPretext], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Draw one patch per image and let several tasks act on it, each with an action of its own.

    Actions are drawn independently and uniformly; they are done in the order flip, rotation, colour, whatever
    the order of `pretexts` (G-SSL; Fuadi et al., arXiv 2301.05865).

    Args:
        pretexts: one or more, all with the same places.
        x: images [B, C, H, W]; left untouched.

    Returns:
        The changed images, and int64 labels [B] of each pretext, as ordered in `pretexts`.

    Raises:
        PretaskError: pretexts whose places differ, or images that one of them cannot take.
        ValueError: no pretexts.
    """
    if not pretexts:
        raise ValueError("a shared patch needs at least 1 pretext")
    _check_shared(pretexts, x)
    batch, _, height, width = x.shape
    place = pretexts[0].places.draw(batch, height, width, x.device)
    labels: list[Tensor] = [place.cell] * len(pretexts)
    for index in sorted(range(len(pretexts)), key=lambda index: pretexts[index].order):
        pretext = pretexts[index]
        actions = pretext.draw_actions(batch, x.device)
        x = pretext.act(x, place, actions)
        labels[index] = pretext.place_labels(place, actions)
    return x, labels


def _check_shared(pretexts: Sequence[PatchPretext], x: Tensor) -> None:
    first = pretexts[0]
    for other in pretexts:
        other.check(*x.shape[1:])
        if other.places != first.places:
            raise PretaskError(
                f"{first.name} and {other.name} do not work on the same patches: give all tasks the same grid"
            )
