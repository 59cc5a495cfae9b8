"""Barlow Twins."""

from __future__ import annotations

from pretask.pretraining.base import BASES
from pretask.pretraining.bases.statistical import StatisticalBase


@BASES.register("barlow")
class BarlowTwins(StatisticalBase):
    """Barlow Twins: make the cross-correlation of both views' embeddings the identity.

    Σ_i (1 − C_ii)² + 0.005 Σ_{i≠j} C_ij² (Zbontar et al., ICML 2021, arXiv 2103.03230, eq. 1).
    """

    projector_class = "BarlowTwinsProjectionHead"
    loss_class = "BarlowTwinsLoss"
