"""SimSiam."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from pretask.pretraining.base import BASES, HEADS, LOSSES, Base, HeadOptions
from pretask.pretraining.embedding import Embedding
from pretask.pretraining.extra import load

_BOTTLENECK = 4


@BASES.register("simsiam")
class SimSiam(Base):
    """SimSiam: predict what the network itself makes of the other view, which gets no gradient.

    ½[−cos(q(z1), z2) − cos(q(z2), z1)] (Chen & He, CVPR 2021, arXiv 2011.10566, eq. 4). The predictor's hidden layer
    is a quarter as wide as the embeddings, as there.
    """

    predicts: ClassVar[bool] = True
    projector_class: ClassVar[str] = "SimSiamProjectionHead"

    def __init__(self, num_features: int, options: HeadOptions) -> None:
        super().__init__(num_features, options)
        self.loss: nn.Module = load(LOSSES, "simsiam").NegativeCosineSimilarity()
        if options.predictor:
            hidden = max(2, options.size // _BOTTLENECK)
            self.predictor = load(HEADS, "simsiam").SimSiamPredictionHead(options.size, hidden, options.size)

    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the mean of −cos(q(z), t); see `Base.toward`."""
        loss: Tensor = self.loss(view.predicted, other.target)
        return loss
