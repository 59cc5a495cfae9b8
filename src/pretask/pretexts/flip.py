"""Mirror images, with the side as the label."""

from __future__ import annotations

import torch
from torch import Tensor

from pretask.pretexts.base import Pretext, interleave, memory_format_of
from pretask.pretexts.factory import PRETEXTS


class _Flip(Pretext):
    num_labels = 2
    _dim: int

    def transform(self, x: Tensor, labels: Tensor) -> Tensor:
        """Mirror the images whose label is 1; see `Pretext.transform`."""
        flipped = torch.where(labels.bool()[:, None, None, None], x.flip(self._dim), x)
        return flipped.contiguous(memory_format=memory_format_of(x))

    def views(self, x: Tensor) -> Tensor:
        """Return each image and its mirror image, sample-major; see `Pretext.views`."""
        return interleave([x, x.flip(self._dim)])

    def label_names(self) -> list[str]:
        """Return what was done."""
        return ["as is", "mirrored"]


@PRETEXTS.register("hflip")
class HorizontalFlip(_Flip):
    """Left and right exchanged (M = 2); flipping as augmentation hides the label."""

    name = "hflip"
    hidden_by = frozenset({"flip"})
    _dim = 3


@PRETEXTS.register("vflip")
class VerticalFlip(_Flip):
    """Top and bottom exchanged (M = 2)."""

    name = "vflip"
    _dim = 2
