"""Orders of the colour channels (Lee et al. 2020, section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

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
        normalised: permute normalised values, as the public code of SLA and G-SSL does, not pixels: where channels
            differ in mean and deviation, each value is brought to its new channel's. `set_moments` says these.

    Raises:
        PretaskError: another number of orders.
    """

    _table: Tensor
    _factors: Tensor
    _offsets: Tensor

    def __init__(self, num_labels: int = 6, normalised: bool = False) -> None:
        super().__init__()
        if num_labels not in _ORDERS:
            raise PretaskError(f"colour order knows 6 (all) or 3 (cyclic) labels, not {num_labels}")
        self.num_labels = num_labels
        self.name = "color" if num_labels == 6 else "color3"
        self.normalised = normalised
        self._orders = [["RGB".index(c) for c in order] for order in _ORDERS[num_labels]]
        self.register_buffer("_table", torch.tensor(self._orders), persistent=False)
        self.set_moments((0.0,) * 3, (1.0,) * 3)

    def set_moments(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """See `Pretext.set_moments`; images of other than three channels are refused later, by `check`."""
        if len(mean) != 3:
            return
        means, stds = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
        # (x[order] - mean[order]) / std[order], normalised back: exactly x where the order is RGB.
        orders = torch.tensor(self._orders)
        factors = stds / stds[orders]
        self.register_buffer("_factors", factors, persistent=False)
        self.register_buffer("_offsets", means - means[orders] * factors, persistent=False)

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
        return self._levelled(x.gather(1, source), labels).contiguous(memory_format=memory_format_of(x))

    def views(self, x: Tensor) -> Tensor:
        """Return all M orders, sample-major; see `Pretext.views`."""
        self.check(*x.shape[1:])
        orders = enumerate(self._orders[1:], 1)
        return interleave([x, *(self._levelled(x[:, order], label) for label, order in orders)])

    def _levelled(self, permuted: Tensor, label: Tensor | int) -> Tensor:
        if not self.normalised:
            return permuted
        return permuted * self._factors[label].to(permuted.dtype) + self._offsets[label].to(permuted.dtype)

    def label_names(self) -> list[str]:
        """Return the orders as letters."""
        return list(_ORDERS[self.num_labels])


Normalised = Annotated[bool, "permute normalised values, not pixels, as published code does"]


@PRETEXTS.register("color", "color6")
def all_orders(normalised: Normalised = False) -> ColorOrder:
    """All 6 orders of the colour channels."""
    return ColorOrder(6, normalised)


@PRETEXTS.register("color3")
def cyclic_orders(normalised: Normalised = False) -> ColorOrder:
    """The 3 cyclic orders of the colour channels."""
    return ColorOrder(3, normalised)
