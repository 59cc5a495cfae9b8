"""Orders of the colour channels (Lee et al. 2020, section 2.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.pretexts.base import Pretext, interleave, memory_format_of
from pretask.pretexts.factory import PRETEXTS

_ORDERS = {
    6: ("RGB", "RBG", "GRB", "GBR", "BRG", "BGR"),
    3: ("RGB", "GBR", "BRG"),
}


class ColorOrder(Pretext):
    """Permutation of the three colour channels: all 6 orders, or the 3 cyclic ones.

    View GBR holds the green channel first, then blue, then red.

    Args:
        num_labels: 6 or 3.

    Raises:
        PretaskError: another number of orders.
    """

    _table: Tensor

    def __init__(self, num_labels: int = 6) -> None:
        super().__init__()
        if num_labels not in _ORDERS:
            raise PretaskError(f"colour order knows 6 (all) or 3 (cyclic) labels, not {num_labels}")
        self.num_labels = num_labels
        self.name = "color" if num_labels == 6 else "color3"
        self._orders = [["RGB".index(c) for c in order] for order in _ORDERS[num_labels]]
        self.register_buffer("_table", torch.tensor(self._orders), persistent=False)

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse images without three channels."""
        if channels != 3:
            raise PretaskError(
                f"colour order needs 3 channels, not {channels} ({channels}x{height}x{width}): "
                "use rotation, or type --channels 3 if the files hold colour"
            )

    def transform(self, x: Tensor, labels: Tensor) -> Tensor:
        """Reorder each image's channels by its label; see `Pretext.transform`."""
        self.check(*x.shape[1:])
        source = self._table[labels][:, :, None, None].expand_as(x)
        return x.gather(1, source).contiguous(memory_format=memory_format_of(x))

    def views(self, x: Tensor) -> Tensor:
        """Return all M orders, sample-major; see `Pretext.views`."""
        self.check(*x.shape[1:])
        return interleave([x, *(x[:, order] for order in self._orders[1:])])

    def label_names(self) -> list[str]:
        """Return the orders as letters."""
        return list(_ORDERS[self.num_labels])


PRETEXTS.register("color", "color6")(lambda: ColorOrder(6))
PRETEXTS.register("color3")(lambda: ColorOrder(3))
