"""How images are mixed, by which shares, and what objectives that mix leave open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Beta

from pretask.distributed.gathering import from_first_rank
from pretask.errors import PretaskError

Mixed = Literal["images", "views", "latent"]


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


@dataclass(frozen=True)
class TriMixOptions:
    """What TriMix leaves open, as reconstructed; the defaults are the reconstruction's.

    Attributes:
        mixed: different images, the two views of each image, or features of different images before the projector.
        alpha: α of λ ~ Beta(α, α).
        per_sample: a λ for each image instead of one for the batch, which is that of all processes together.
        extraction: draw the virtual embedding to both originals by their shares, or have a head take it apart.
        consistency: how the virtual embedding is compared with the mixture of the originals'.
        base_weight, extraction_weight, consistency_weight: of the three losses, 0 or more.

    Raises:
        PretaskError: a number out of its range, or weights that are all 0.
    """

    mixed: Mixed = "images"
    alpha: float = 1.0
    per_sample: bool = False
    extraction: Literal["weighted", "unmixed"] = "weighted"
    consistency: Literal["squared", "cosine", "correlation"] = "squared"
    base_weight: float = 1.0
    extraction_weight: float = 1.0
    consistency_weight: float = 1.0

    def __post_init__(self) -> None:
        weights = (self.base_weight, self.extraction_weight, self.consistency_weight)
        if self.alpha <= 0 or min(weights) < 0 or not any(weights):
            raise PretaskError(
                f"alpha {self.alpha:g} with weights {', '.join(f'{w:g}' for w in weights)} is not possible: "
                "give an alpha above 0, and weights of 0 or more that are not all 0"
            )
