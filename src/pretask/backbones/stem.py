"""One rule for every family: how strongly the first layers shrink an image follows the image's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from pretask.errors import PretaskError

StemChoice = Literal["auto", "1", "2", "4"]
"""By how much the stem shrinks an image: as `stem_for` has it for the size, or by 1, 2 or 4."""


@dataclass(frozen=True)
class Stem:
    """The first convolution, an optional 3×3 stride-2 max-pool, and the strides of three stages after it."""

    kernel: int
    stride: int
    pool: bool = False
    stages: tuple[int, int, int] = (1, 2, 2)

    @property
    def words(self) -> str:
        """Return the stem for people: "3x3 stride 1"."""
        pool = " + pool stride 2" if self.pool else ""
        skipped = ", two stages at full resolution" if self.stages[2] == 1 else ""
        return f"{self.kernel}x{self.kernel} stride {self.stride}{pool}{skipped}"


def stem_for(image_size: tuple[int, int], asked: StemChoice = "auto") -> Stem:
    """Return the stem that is asked for, or that for images of `image_size` (height, width), by the longer side.

    Asked for, 1 is 3×3 of stride 1, 2 is 3×3 of stride 2, and 4 is 7×7 of stride 2 with a max-pool.

    The aim is a final map between 4×4 and 14×14, where there is something left to pool and pooling does not
    average over hundreds of places. With the three stages of the CIFAR networks (÷4 after the stem):

    ========  =========================  ==============  =================================
    side      stem                       whole network   final map
    ========  =========================  ==============  =================================
    to 12     3×3 stride 1               ÷2              8 → 4 (the third stage keeps size)
    to 40     3×3 stride 1               ÷4              28 → 7, 32 → 8
    to 112    3×3 stride 2               ÷8              64 → 8, 105 → 14
    above     7×7 stride 2 + max-pool    ÷16             128 → 8, 224 → 14
    ========  =========================  ==============  =================================

    ImageNet networks shrink by 8 after the stem (28 → 4, 96 → 6, 224 → 7) and ignore `stages`.
    """
    side = {"auto": max(image_size), "1": min(40, max(image_size)), "2": 64, "4": 224}[asked]
    if side <= 12:
        return Stem(3, 1, stages=(1, 2, 1))
    if side <= 40:
        return Stem(3, 1)
    if side <= 112:
        return Stem(3, 2)
    return Stem(7, 2, pool=True)


def stem_convolution(stem: Stem, in_channels: int, width: int) -> nn.Conv2d:
    """Return the stem's convolution from `in_channels` to `width` channels."""
    return nn.Conv2d(in_channels, width, stem.kernel, stem.stride, padding=stem.kernel // 2, bias=False)


def stem_pool(stem: Stem) -> nn.Module:
    """Return the stem's pooling, or the identity where it has none."""
    return nn.MaxPool2d(3, stride=2, padding=1) if stem.pool else nn.Identity()


def stem_of_its_own(name: str) -> PretaskError:
    """Return the error for a network whose stem cannot be chosen."""
    return PretaskError(
        f"{name} has a stem of its own: drop --stem, or choose a CIFAR ResNet, a wide one, or one of timm's (resnet18)"
    )
