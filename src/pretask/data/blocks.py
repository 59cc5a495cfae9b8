"""Images that are read together, and an order that reads each block once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which images of a store are read together, as those of one row group of a parquet file are.

    Attributes:
        of: the block of each image, int64 [n].
        at_once: blocks that a reader keeps at hand.
    """

    of: Tensor
    at_once: int

    def subset(self, chosen: Tensor) -> Blocks:
        """Return the blocks of the images at `chosen`, int64."""
        return Blocks(self.of[chosen], self.at_once)

    def shuffled(self, steps: int, batch_size: int, draws: torch.Generator) -> Tensor:
        """Return an order of the images that needs few blocks at a time: int64 [steps, batch_size].

        Blocks come in random order, and so do the images of each. That sequence is cut into as many lanes as blocks
        can be at hand, and every batch takes the next images of every lane: it is mixed from that many places, and
        whoever is given a part of each batch, as ranks are, reads a part of the lanes.
        """
        rows = torch.randperm(len(self.of), generator=draws)
        found, of = self.of.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        place = torch.randperm(len(found), generator=draws)
        order = rows[place[of[rows]].argsort(stable=True)][: steps * batch_size]
        lanes = min(self.at_once, batch_size, len(found))
        ends = [batch_size * lane // lanes for lane in range(lanes + 1)]
        shares = [end - start for start, end in pairwise(ends)]
        parts = torch.split(order, [steps * share for share in shares])
        return torch.cat([part.view(steps, share) for part, share in zip(parts, shares, strict=True)], dim=1)
