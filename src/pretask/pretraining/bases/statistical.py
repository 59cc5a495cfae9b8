"""Bases whose loss compares embeddings within the batch, and so needs the batches of all processes."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from pretask.methods.ranks import gather_over_ranks
from pretask.pretraining.base import LOSSES, Base, HeadOptions
from pretask.pretraining.embedding import Embedding
from pretask.pretraining.extra import load


class StatisticalBase(Base):
    """A loss of the embeddings z of two views, the same whichever comes first, over the union of all batches.

    Attributes:
        loss_class: among lightly's losses: of z [B, d] of one view and z [B, d] of another.
    """

    loss_class: ClassVar[str]

    def __init__(self, num_features: int, options: HeadOptions) -> None:
        super().__init__(num_features, options)
        self.loss: nn.Module = getattr(load(LOSSES, "pre-training"), self.loss_class)(**self.loss_options())

    def loss_options(self) -> dict[str, Any]:
        """Return how the loss is to be made, where not as published."""
        return {}

    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the loss of both, which knows no direction; see `Base.toward`."""
        loss: Tensor = self.loss(gather_over_ranks(view.projected), gather_over_ranks(other.projected))
        return loss

    def pair(self, first: Embedding, second: Embedding) -> Tensor:
        """Return the loss of both, once; see `Base.pair`."""
        return self.toward(first, second)
