"""Barlow Twins."""

from __future__ import annotations

from torch import nn

from pretask.pretraining.base import BASES
from pretask.pretraining.bases.statistical import StatisticalBase
from pretask.pretraining.extra import load


@BASES.register("barlow")
class BarlowTwins(StatisticalBase):
    """Barlow Twins: make the cross-correlation of both views' embeddings the identity.

    Σ_i (1 − C_ii)² + 0.005 Σ_{i≠j} C_ij² (Zbontar et al., ICML 2021, arXiv 2103.03230, eq. 1).
    """

    def make_projector(self, num_features: int) -> nn.Module:
        """Return three linear layers, two with a norm; see `Base.make_projector`."""
        heads = load("lightly.models.modules.heads", "barlow")
        projector: nn.Module = heads.BarlowTwinsProjectionHead(
            num_features, self.options.hidden, self.options.size
        )
        return projector

    def make_loss(self) -> nn.Module:
        """Return the loss of eq. 1; see `StatisticalBase.make_loss`."""
        loss: nn.Module = load("lightly.loss", "barlow").BarlowTwinsLoss()
        return loss
