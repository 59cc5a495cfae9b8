"""VICReg."""

from __future__ import annotations

from torch import nn

from pretask.pretraining.base import BASES
from pretask.pretraining.bases.statistical import StatisticalBase
from pretask.pretraining.extra import load


@BASES.register("vicreg")
class VICReg(StatisticalBase):
    """VICReg: draw views together, keep the variance of every feature up and their covariances down.

    25·invariance + 25·variance + 1·covariance (Bardes et al., ICLR 2022, arXiv 2105.04906, eq. 6).
    """

    def make_projector(self, num_features: int) -> nn.Module:
        """Return three linear layers, two with a norm; see `Base.make_projector`."""
        heads = load("lightly.models.modules.heads", "vicreg")
        projector: nn.Module = heads.VICRegProjectionHead(
            num_features, self.options.hidden, self.options.size
        )
        return projector

    def make_loss(self) -> nn.Module:
        """Return the loss of eq. 6; see `StatisticalBase.make_loss`."""
        loss: nn.Module = load("lightly.loss", "vicreg").VICRegLoss()
        return loss
