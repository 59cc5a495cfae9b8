"""SimCLR."""

from __future__ import annotations

from torch import nn

from pretask.pretraining.base import BASES
from pretask.pretraining.bases.statistical import StatisticalBase
from pretask.pretraining.extra import load


@BASES.register("simclr")
class SimCLR(StatisticalBase):
    """SimCLR: tell the other view of an image from all views of other images of the batch.

    NT-Xent at `temperature` (Chen et al., ICML 2020, arXiv 2002.05709, eq. 1), mean over all 2B views.
    """

    def make_projector(self, num_features: int) -> nn.Module:
        """Return two linear layers, each with a norm; see `Base.make_projector`."""
        heads = load("lightly.models.modules.heads", "simclr")
        projector: nn.Module = heads.SimCLRProjectionHead(
            num_features, self.options.hidden, self.options.size
        )
        return projector

    def make_loss(self) -> nn.Module:
        """Return NT-Xent; see `StatisticalBase.make_loss`."""
        loss: nn.Module = load("lightly.loss", "simclr").NTXentLoss(self.options.temperature)
        return loss
