"""How images are mixed, and by which shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Beta

from pretask.distributed.gathering import from_first_rank
from pretask.options import above

Alpha = Annotated[float, above(0), "of the Beta distribution of the shares"]
PerSample = Annotated[bool, "draw a share for each image instead of one for the batch"]


@dataclass(frozen=True)
class Shares:
    """Shares of a mixture and its partners.

    Attributes:
        share: λ in [½, 1], [B, 1].
        order: π, int64 [B]: the image that each is mixed with, among the process's own.
    """

    share: Tensor
    order: Tensor

    def blend(self, own: Tensor, other: Tensor) -> Tensor:
        """Return λ·own + (1 − λ)·other of tensors [B, …]."""
        share = self.share.view(-1, *[1] * (own.dim() - 1)).to(own.dtype)
        return share * own + (1 - share) * other

    def blend_partners(self, x: Tensor) -> Tensor:
        """Return λ·x + (1 − λ)·x[π]."""
        return self.blend(x, x[self.order])


def draw_shares(images: Tensor, alpha: float, per_sample: bool) -> Shares:
    """Draw max(λ, 1 − λ) with λ ~ Beta(α, α), one for the batch or one for each image, and a permutation.

    One for the batch is one for the union of all processes' batches: losses over the union are weighted with it. Shares
    of images and permutations are each process's own, of its own images.
    """
    count, device = len(images), images.device
    concentration = torch.tensor(alpha, device=device)
    drawn = Beta(concentration, concentration).sample((count if per_sample else 1,))
    if not per_sample:
        drawn = from_first_rank(drawn)
    share = torch.maximum(drawn, 1 - drawn).expand(count)[:, None]
    return Shares(share, torch.randperm(count, device=device))
