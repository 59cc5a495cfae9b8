"""SimSiam."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from pretask.pretraining.base import BASES, Base, HeadOptions
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

    def __init__(self, num_features: int, options: HeadOptions) -> None:
        super().__init__(num_features, options)
        self.loss: nn.Module = load("lightly.loss", "simsiam").NegativeCosineSimilarity()
        if options.predictor:
            heads = load("lightly.models.modules.heads", "simsiam")
            hidden = max(2, options.size // _BOTTLENECK)
            self.predictor = heads.SimSiamPredictionHead(options.size, hidden, options.size)

    def make_projector(self, num_features: int) -> nn.Module:
        """Return three linear layers, each with a norm; see `Base.make_projector`."""
        heads = load("lightly.models.modules.heads", "simsiam")
        projector: nn.Module = heads.SimSiamProjectionHead(
            num_features, self.options.hidden, self.options.size
        )
        return projector

    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the mean of −cos(q(z), t); see `Base.toward`."""
        loss: Tensor = self.loss(view.predicted, other.target)
        return loss
