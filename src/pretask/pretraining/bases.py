"""Bases: heads, and how the embeddings of two views are drawn together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from pretask.distributed.gathering import gather_over_ranks
from pretask.errors import PretaskError
from pretask.pretraining.embedding import Embedding, distance
from pretask.pretraining.extra import load
from pretask.registry import Registry

TargetKind = Literal["average", "online"]
HEADS, LOSSES = "lightly.models.modules.heads", "lightly.loss"


@dataclass(frozen=True)
class HeadOptions:
    """Sizes of projector and predictor, and what a base may be robbed of.

    Attributes:
        hidden: width of hidden layers.
        size: d, width of embeddings.
        temperature: of contrastive losses.
        predictor: whether a base that has one uses it; without it, `byol` and `simsiam` are known to collapse.
    """

    hidden: int = 1024
    size: int = 128
    temperature: float = 0.5
    predictor: bool = True


class Base(nn.Module, ABC):
    """Projector g, predictor q, and the loss between two views of each image.

    Attributes:
        default_target: "average" takes targets from a moving average of the network, "online" from itself.
        predicts: whether each image is compared with its own target alone, through a predictor.
        projector_class: of the projector, among lightly's heads.
        projector: features [B, D] → z [B, d].
        predictor: z → q(z) [B, d]; the identity where there is none.
    """

    default_target: ClassVar[TargetKind] = "online"
    predicts: ClassVar[bool] = False
    projector_class: ClassVar[str]
    projector: nn.Module
    predictor: nn.Module

    def __init__(self, num_features: int, options: HeadOptions) -> None:
        super().__init__()
        self.options = options
        make_projector = getattr(load(HEADS, "pre-training"), self.projector_class)
        self.projector = make_projector(num_features, options.hidden, options.size)
        self.predictor = nn.Identity()

    @abstractmethod
    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the loss that draws one view to another, a scalar."""

    def pair(self, first: Embedding, second: Embedding) -> Tensor:
        """Return the loss of two views: here, each drawn to the other, halved."""
        return (self.toward(first, second) + self.toward(second, first)) / 2


BASES: Registry[type[Base]] = Registry("base", "pretask.pretraining", "pretask.pretraining.bases")
"""Classes of bases, by name: how two views of an image are drawn together."""


def create_base(name: str, num_features: int, options: HeadOptions) -> Base:
    """Return a base by name.

    Raises:
        PretaskError: an unknown name, sizes below 2, or no positive temperature.
        MissingExtra: `lightly` is not installed.
    """
    if min(options.hidden, options.size) < 2 or options.temperature <= 0:
        raise PretaskError(
            f"heads of {options.hidden} hidden and {options.size} outputs at temperature {options.temperature:g} "
            "are not possible: give sizes of 2 or more and a temperature above 0"
        )
    return BASES.get(name)(num_features, options)


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


@BASES.register("barlow")
class BarlowTwins(StatisticalBase):
    """Barlow Twins: make the cross-correlation of both views' embeddings the identity.

    Σ_i (1 − C_ii)² + 0.005 Σ_{i≠j} C_ij² (Zbontar et al., ICML 2021, arXiv 2103.03230, eq. 1).
    """

    projector_class = "BarlowTwinsProjectionHead"
    loss_class = "BarlowTwinsLoss"


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


@BASES.register("vicreg")
class VICReg(StatisticalBase):
    """VICReg: draw views together, keep the variance of every feature up and their covariances down.

    25·invariance + 25·variance + 1·covariance (Bardes et al., ICLR 2022, arXiv 2105.04906, eq. 6).
    """

    projector_class = "VICRegProjectionHead"
    loss_class = "VICRegLoss"
