"""Turned, mirrored and recoloured patches (LoRot: Moon et al., ECCV 2022; G-SSL: Fuadi et al., arXiv 2301.05865)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.options import at_least, one_of
from pretask.pretexts.base import memory_format_of
from pretask.pretexts.color import ColorOrder, Normalised
from pretask.pretexts.factory import PRETEXTS
from pretask.pretexts.patch import PatchPretext
from pretask.pretexts.place import GridPlaces, Place, Places, WindowPlaces

Axis = Literal["horizontal", "vertical"]

AxisOption = Annotated[Axis, "horizontal exchanges left and right, vertical top and bottom"]
Grid = Annotated[int, at_least(1), "n of the n x n grid of tiles"]
Position = Annotated[bool, "whether the label holds the tile too"]

_AS_IS = (1, 0, 0, 1, 0, 0)


class _Movement(PatchPretext):
    """Pixels of the patch change places, by a row of the table for each action.

    A row (a, b, c, d, e, f) says where a patch pixel's value comes from: the pixel below it has its own a rows
    down and b columns right of this one's, the pixel right of it c down and d right; the first pixel's comes
    from the last row of the patch if e is 1, and from the last column if f is 1.
    """

    _table: Tensor

    def __init__(
        self, places: Places, position: bool, options: dict[str, Any], table: Sequence[tuple[int, ...]]
    ) -> None:
        super().__init__(places, position, options)
        self.register_buffer("_table", torch.tensor(table), persistent=False)

    def act(self, x: Tensor, place: Place, actions: Tensor) -> Tensor:
        """Move the pixels of each patch; see `PatchPretext.act`."""
        _, channels, height, width = x.shape
        below_rows, below_columns, right_rows, right_columns, last_row, last_column = self._table[
            actions
        ].unbind(1)
        start = (place.top + last_row * (place.height - 1)) * width
        start = start + place.left + last_column * (place.width - 1)
        below, right = below_rows * width + below_columns, right_rows * width + right_columns
        source = (
            start[:, None, None]
            + below[:, None, None] * place.rows(height)
            + right[:, None, None] * place.columns(width)
        )
        itself = torch.arange(height * width, device=x.device).view(height, width)
        source = torch.where(place.inside(height, width), source, itself).flatten(1)
        moved = x.flatten(2).gather(2, source[:, None].expand(-1, channels, -1))
        return moved.view(x.shape).contiguous(memory_format=memory_format_of(x))


@PRETEXTS.register("patch-rotation")
class PatchRotation(_Movement):
    """A tile turned counter-clockwise by 0, 90, 180 or 270 degrees, drawn or given by the label.

    Args:
        grid: n of the n x n grid of tiles.
        position: whether the label holds the tile: 4·n² labels instead of 4.

    Raises:
        PretaskError: a grid below 1.
    """

    name = "patch-rotation"
    order = 1
    num_actions = 4

    def __init__(self, grid: Grid = 2, position: Position = False) -> None:
        table = [_AS_IS, (0, -1, 1, 0, 0, 1), (-1, 0, 0, -1, 1, 1), (0, 1, -1, 0, 1, 0)]
        super().__init__(_grid_places(grid), position, {"grid": grid, "position": position}, table)

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse images without places, and tiles that a quarter turn would reshape."""
        super().check(channels, height, width)
        tile_height, tile_width = self.places.tile(height, width)
        if tile_height != tile_width:
            raise PretaskError(
                f"turning patches needs square ones, not {tile_height}x{tile_width} (images of {height}x{width}): "
                f"type --image-size {min(height, width)} or choose lorot-i"
            )

    def action_names(self) -> list[str]:
        """Return the angles in degrees."""
        return ["0°", "90°", "180°", "270°"]


@PRETEXTS.register("lorot-e")
class LoRotE(PatchRotation):
    """LoRot-E: a turned tile, and which one it is; 4·n² labels, label 4·tile + k (Moon et al., ECCV 2022).

    Args:
        grid: n of the n x n grid of tiles, in reading order.
    """

    name = "lorot-e"

    def __init__(self, grid: Grid = 2) -> None:
        super().__init__(grid, position=True)


@PRETEXTS.register("lorot-i")
class LoRotI(PatchRotation):
    """LoRot-I: a turned square window, one per batch, at any place; 4 labels (Moon et al., ECCV 2022)."""

    name = "lorot-i"

    def __init__(self) -> None:
        super().__init__(grid=1)
        self.places = WindowPlaces()
        self.stochastic = True


@PRETEXTS.register("patch-flip")
class PatchFlip(_Movement):
    """A tile as it is, or mirrored.

    Args:
        grid: n of the n x n grid of tiles.
        position: whether the label holds the tile: 2·n² labels instead of 2.
        axis: horizontal exchanges left and right, vertical top and bottom.

    Raises:
        PretaskError: a grid below 1, an unknown axis.
    """

    name = "patch-flip"
    order = 0
    num_actions = 2

    def __init__(
        self,
        grid: Grid = 2,
        position: Position = False,
        axis: AxisOption = "horizontal",
    ) -> None:
        one_of("axis of patch-flip", axis, Axis)
        mirrored = (1, 0, 0, -1, 0, 1) if axis == "horizontal" else (-1, 0, 0, 1, 1, 0)
        options: dict[str, Any] = {"grid": grid, "position": position, "axis": axis}
        super().__init__(_grid_places(grid), position, options, [_AS_IS, mirrored])
        if grid == 1 and axis == "horizontal":  # the whole image
            self.hidden_by = frozenset({"flip"})

    def action_names(self) -> list[str]:
        """Return what was done."""
        return ["as is", "mirrored"]


@PRETEXTS.register("patch-color")
class PatchColor(PatchPretext):
    """A tile with its colour channels in one of the 6 orders.

    Args:
        grid: n of the n x n grid of tiles.
        position: whether the label holds the tile: 6·n² labels instead of 6.
        normalised: see `ColorOrder`.

    Raises:
        PretaskError: a grid below 1.
    """

    name = "patch-color"
    order = 2
    num_actions = 6

    def __init__(self, grid: Grid = 2, position: Position = False, normalised: Normalised = False) -> None:
        options = {"grid": grid, "position": position, "normalised": normalised}
        super().__init__(_grid_places(grid), position, options)
        self._orders = ColorOrder(6, normalised)

    def set_moments(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """See `Pretext.set_moments`."""
        self._orders.set_moments(mean, std)

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse images without places or without three channels."""
        super().check(channels, height, width)
        if channels != 3:
            raise PretaskError(
                f"{self.name} needs 3 channels, not {channels} ({channels}x{height}x{width}): leave it out, as "
                "--method gssl-flip does, or type --channels 3 if the files hold colour"
            )

    def act(self, x: Tensor, place: Place, actions: Tensor) -> Tensor:
        """Reorder the channels of each patch; see `PatchPretext.act`."""
        inside = place.inside(*x.shape[2:])[:, None]
        changed = torch.where(inside, self._orders.transform(x, actions), x)
        return changed.contiguous(memory_format=memory_format_of(x))

    def action_names(self) -> list[str]:
        """Return the orders as letters."""
        return self._orders.label_names()


def _grid_places(grid: int) -> GridPlaces:
    return GridPlaces(grid, grid)
