"""BYOL."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from pretask.pretraining.base import BASES, Base, HeadOptions, TargetKind
from pretask.pretraining.embedding import Embedding, distance
from pretask.pretraining.extra import load


@BASES.register("byol")
class BYOL(Base):
    """BYOL: predict what a moving average of the network makes of the other view.

    ½[D(q(z1), t2) + D(q(z2), t1)], D(u, t) = 2 − 2 cos(u, t) (Grill et al., NeurIPS 2020, arXiv 2006.07733, eq. 2),
    whose sum over both directions is halved here.
    """

    default_target: ClassVar[TargetKind] = "average"
    predicts: ClassVar[bool] = True

    def __init__(self, num_features: int, options: HeadOptions) -> None:
        super().__init__(num_features, options)
        if options.predictor:
            heads = load("lightly.models.modules.heads", "byol")
            self.predictor = heads.BYOLPredictionHead(options.size, options.hidden, options.size)

    def make_projector(self, num_features: int) -> nn.Module:
        """Return linear, norm, ReLU, linear; see `Base.make_projector`."""
        heads = load("lightly.models.modules.heads", "byol")
        projector: nn.Module = heads.BYOLProjectionHead(num_features, self.options.hidden, self.options.size)
        return projector

    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the mean of D(q(z), t); see `Base.toward`."""
        return distance(view.predicted, other.target).mean()
