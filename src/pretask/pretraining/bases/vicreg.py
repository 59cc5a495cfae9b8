"""VICReg."""

from __future__ import annotations

from pretask.pretraining.base import BASES
from pretask.pretraining.bases.statistical import StatisticalBase


@BASES.register("vicreg")
class VICReg(StatisticalBase):
    """VICReg: draw views together, keep the variance of every feature up and their covariances down.

    25·invariance + 25·variance + 1·covariance (Bardes et al., ICLR 2022, arXiv 2105.04906, eq. 6).
    """

    projector_class = "VICRegProjectionHead"
    loss_class = "VICRegLoss"
