"""BYOL."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from pretask.pretraining.base import BASES, HEADS, Base, HeadOptions, TargetKind
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
    projector_class: ClassVar[str] = "BYOLProjectionHead"

    def __init__(self, num_features: int, options: HeadOptions) -> None:
        super().__init__(num_features, options)
        if options.predictor:
            self.predictor = load(HEADS, "byol").BYOLPredictionHead(
                options.size, options.hidden, options.size
            )

    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the mean of D(q(z), t); see `Base.toward`."""
        return distance(view.predicted, other.target).mean()
