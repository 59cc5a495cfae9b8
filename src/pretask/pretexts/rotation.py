"""Rotations by quarter turns (Gidaris et al. 2018; as joint labels: Lee et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.pretexts.base import Pretext, interleave, memory_format_of
from pretask.pretexts.factory import PRETEXTS


class Rotation(Pretext):
    """Counter-clockwise rotation: by 0, 90, 180, 270 degrees (M = 4) or by 0, 180 degrees (M = 2).

    Args:
        num_labels: 4 or 2. Four need square images.

    Raises:
        PretaskError: another number of rotations.
    """

    def __init__(self, num_labels: int = 4) -> None:
        super().__init__()
        if num_labels not in (2, 4):
            raise PretaskError(f"rotation knows 4 (quarter turns) or 2 (half turns) labels, not {num_labels}")
        self.num_labels = num_labels
        self.name = "rotation" if num_labels == 4 else "rotation2"

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse images that a quarter turn would reshape."""
        if self.num_labels == 4 and height != width:
            raise PretaskError(
                f"rotation by quarter turns needs square images, not {height}x{width}: "
                f"use rotation2 (0 and 180 degrees) or type --image-size {min(height, width)}"
            )

    def transform(self, x: Tensor, labels: Tensor) -> Tensor:
        """Turn each image by its label; see `Pretext.transform`."""
        self.check(*x.shape[1:])
        half_turns, memory_format = labels, memory_format_of(x)
        if self.num_labels == 4:
            x = torch.where(_mask(labels % 2), torch.rot90(x, 1, (2, 3)), x)
            half_turns = labels // 2
        turned = torch.where(_mask(half_turns), x.flip(2, 3), x)
        return turned.contiguous(memory_format=memory_format)

    def views(self, x: Tensor) -> Tensor:
        """Return all M rotations, sample-major; see `Pretext.views`."""
        self.check(*x.shape[1:])
        step = 4 // self.num_labels
        return interleave([x, *(torch.rot90(x, step * m, (2, 3)) for m in range(1, self.num_labels))])

    def label_names(self) -> list[str]:
        """Return the angles in degrees."""
        return [f"{360 // self.num_labels * m}°" for m in range(self.num_labels)]


def _mask(bits: Tensor) -> Tensor:
    return bits.bool()[:, None, None, None]


PRETEXTS.register("rotation", "rotation4")(lambda: Rotation(4))
PRETEXTS.register("rotation2")(lambda: Rotation(2))
