"""SimCLR."""

from __future__ import annotations

from typing import Any

from pretask.pretraining.base import BASES
from pretask.pretraining.bases.statistical import StatisticalBase


@BASES.register("simclr")
class SimCLR(StatisticalBase):
    """SimCLR: tell the other view of an image from all views of other images of the batch.

    NT-Xent at `temperature` (Chen et al., ICML 2020, arXiv 2002.05709, eq. 1), mean over all 2B views.
    """

    projector_class = "SimCLRProjectionHead"
    loss_class = "NTXentLoss"

    def loss_options(self) -> dict[str, Any]:
        """Return the temperature; see `StatisticalBase.loss_options`."""
        return {"temperature": self.options.temperature}
