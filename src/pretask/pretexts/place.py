"""Places of patches in a batch of images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pretask.errors import PretaskError

_MANY = 2**31 - 1  # a draw below this, modulo some hundreds, is as good as uniform


@dataclass(frozen=True, eq=False)
class Place:
    """A patch for each of B images; all tensors are int64 [B].

    Attributes:
        top, left: of its first pixel.
        height, width: in pixels.
        cell: which of the possible places it is.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    cell: Tensor

    def rows(self, height: int) -> Tensor:
        """Return each image row's offset from the patch's first, int64 [B, H, 1]; H is `height`."""
        return torch.arange(height, device=self.top.device)[None, :, None] - self.top[:, None, None]

    def columns(self, width: int) -> Tensor:
        """Return each image column's offset from the patch's first, int64 [B, 1, W]; W is `width`."""
        return torch.arange(width, device=self.left.device)[None, None, :] - self.left[:, None, None]

    def inside(self, height: int, width: int) -> Tensor:
        """Return which pixels of images of `height` by `width` belong to the patch, bool [B, H, W]."""
        rows, columns = self.rows(height), self.columns(width)
        in_rows = (rows >= 0) & (rows < self.height[:, None, None])
        in_columns = (columns >= 0) & (columns < self.width[:, None, None])
        return in_rows & in_columns

    def repeat(self, times: int) -> Place:
        """Return each image's place `times` times in a row, [B·times]."""
        return Place(*(getattr(self, field.name).repeat_interleave(times) for field in fields(self)))


class Places(ABC):
    """Where patches may lie. Equal places can share a patch."""

    @property
    @abstractmethod
    def num_cells(self) -> int:
        """How many places a label can distinguish."""

    @abstractmethod
    def check(self, height: int, width: int) -> None:
        """Raise a `PretaskError` where images of `height` by `width` pixels have no such places."""

    @abstractmethod
    def tile(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the largest patch."""

    @abstractmethod
    def at(self, cells: Tensor, height: int, width: int) -> Place:
        """Return the places with indices `cells`, int64 [B], in images of `height` by `width` pixels."""

    @abstractmethod
    def cell_names(self) -> list[str]:
        """Return a short name for each place."""

    def draw(self, batch: int, height: int, width: int, device: torch.device) -> Place:
        """Return a place for each of `batch` images of `height` by `width` pixels.

        It is drawn uniformly, from the global stream of `device`.
        """
        return self.at(torch.randint(self.num_cells, (batch,), device=device), height, width)


@dataclass(frozen=True)
class GridPlaces(Places):
    """The tiles of a grid of `rows` by `columns`, in reading order (LoRot-E; Moon et al., ECCV 2022)."""

    rows: int
    columns: int

    @property
    def num_cells(self) -> int:
        """The number of tiles."""
        return self.rows * self.columns

    def check(self, height: int, width: int) -> None:
        """Refuse images that the grid does not divide evenly."""
        if height % self.rows or width % self.columns:
            step, side = math.lcm(self.rows, self.columns), min(height, width)
            raise PretaskError(
                f"a {self.rows}x{self.columns} grid of patches does not divide images of {height}x{width} evenly: "
                f"type --image-size {-(-side // step) * step} or choose lorot-i"
            )

    def tile(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of every tile."""
        return height // self.rows, width // self.columns

    def at(self, cells: Tensor, height: int, width: int) -> Place:
        """Return tiles by index; see `Places.at`."""
        tile_height, tile_width = self.tile(height, width)
        return Place(
            top=cells // self.columns * tile_height,
            left=cells % self.columns * tile_width,
            height=torch.full_like(cells, tile_height),
            width=torch.full_like(cells, tile_width),
            cell=cells,
        )

    def cell_names(self) -> list[str]:
        """Return "row,column" of each tile."""
        return [f"{row},{column}" for row in range(self.rows) for column in range(self.columns)]


@dataclass(frozen=True)
class WindowPlaces(Places):
    """One square window for the whole batch, anywhere (LoRot-I; Moon et al., ECCV 2022).

    Its side is uniform in {2 … half the shorter side of the images}, its place uniform among those inside.
    """

    @property
    def num_cells(self) -> int:
        """1."""
        return 1

    def check(self, height: int, width: int) -> None:
        """Refuse images without room for a window."""
        if min(height, width) < 4:
            raise PretaskError(
                f"a window needs images of 4x4 or more, not {height}x{width}: type a larger --image-size"
            )

    def tile(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the largest window."""
        return min(height, width) // 2, min(height, width) // 2

    def at(self, cells: Tensor, height: int, width: int) -> Place:
        """Return a new window for as many images as there are cells, all 0: a window has no other index.

        See `Places.at`.
        """
        return self.draw(len(cells), height, width, cells.device)

    def cell_names(self) -> list[str]:
        """Return one name."""
        return ["window"]

    def draw(self, batch: int, height: int, width: int, device: torch.device) -> Place:
        """Return one window, the same for each image; see `Places.draw`."""
        largest, _ = self.tile(height, width)
        side = torch.randint(2, largest + 1, (1,), device=device)
        top, left = torch.randint(_MANY, (2, 1), device=device).unbind()
        window = (top % (height - side + 1), left % (width - side + 1), side, side, torch.zeros_like(side))
        return Place(*(value.expand(batch) for value in window))
