"""Bases whose loss compares embeddings within the batch, and so needs the batches of all processes."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from pretask.methods.ranks import gather_over_ranks
from pretask.pretraining.base import Base, HeadOptions
from pretask.pretraining.embedding import Embedding


class StatisticalBase(Base):
    """A loss of the embeddings z of two views, the same whichever comes first, over the union of all batches."""

    def __init__(self, num_features: int, options: HeadOptions) -> None:
        super().__init__(num_features, options)
        self.loss = self.make_loss()

    @abstractmethod
    def make_loss(self) -> nn.Module:
        """Return the loss of z [B, d] of one view and z [B, d] of another."""

    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the loss of both, which knows no direction; see `Base.toward`."""
        loss: Tensor = self.loss(gather_over_ranks(view.projected), gather_over_ranks(other.projected))
        return loss

    def pair(self, first: Embedding, second: Embedding) -> Tensor:
        """Return the loss of both, once; see `Base.pair`."""
        return self.toward(first, second)
