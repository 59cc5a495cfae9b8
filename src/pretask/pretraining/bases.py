"""Bases: heads, and how the embeddings of two views are drawn together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor, nn

from pretask.distributed.gathering import gather_over_ranks
from pretask.errors import import_extra
from pretask.options import at_least
from pretask.pretraining.embedding import Embedding, distance
from pretask.registry import Registry

TargetKind = Literal["average", "online"]
HEADS, LOSSES = "lightly.models.modules.heads", "lightly.loss"


HiddenSize = Annotated[int, at_least(2), "width of the heads' hidden layers"]
EmbeddingSize = Annotated[int, at_least(2), "width of what the heads put out"]
Predictor = Annotated[bool, "the predictor, without which the base collapses"]


def _lightly(module: str, purpose: str) -> Any:
    return import_extra(module, "pretrain", purpose)


class Base(nn.Module, ABC):
    """Projector g, predictor q, and the loss between two views of each image.

    Args:
        num_features: D.
        hidden_size: width of hidden layers, 2 or more.
        embedding_size: d, 2 or more.

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

    def __init__(
        self,
        num_features: int,
        *,
        hidden_size: HiddenSize = 1024,
        embedding_size: EmbeddingSize = 128,
    ) -> None:
        super().__init__()
        self.hidden_size, self.embedding_size = hidden_size, embedding_size
        make_projector = getattr(_lightly(HEADS, "pre-training"), self.projector_class)
        self.projector = make_projector(num_features, hidden_size, embedding_size)
        self.predictor = nn.Identity()

    @abstractmethod
    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the loss that draws one view to another, a scalar."""

    def pair(self, first: Embedding, second: Embedding) -> Tensor:
        """Return the loss of two views: here, each drawn to the other, halved."""
        return (self.toward(first, second) + self.toward(second, first)) / 2


BASES: Registry[type[Base]] = Registry("base", "pretask.pretraining", "pretask.pretraining.bases")
"""Classes of bases, by name: how two views of an image are drawn together."""


def create_base(spec: str, num_features: int, **options: Any) -> Base:
    """Return the base that a spec names, as in "simclr" or "simclr:temperature=0.2".

    Args:
        spec: name and options.
        num_features: D.
        options: the same beside the spec.

    Raises:
        PretaskError: an unknown name or option, or a value out of range.
        MissingExtra: `lightly` is not installed.
    """
    base: Base = BASES.create(spec, num_features, **options)
    return base


class StatisticalBase(Base):
    """A loss of the embeddings z of two views, the same whichever comes first, over the union of all batches.

    Attributes:
        loss_class: among lightly's losses: of z [B, d] of one view and z [B, d] of another.
    """

    loss_class: ClassVar[str]

    def __init__(self, num_features: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.loss: nn.Module = getattr(_lightly(LOSSES, "pre-training"), self.loss_class)(
            **self.loss_options()
        )

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

    def __init__(self, num_features: int, *, predictor: Predictor = True, **options: Any) -> None:
        super().__init__(num_features, **options)
        size, hidden = self.embedding_size, self.hidden_size
        if predictor:
            self.predictor = _lightly(HEADS, "byol").BYOLPredictionHead(size, hidden, size)

    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the mean of D(q(z), t); see `Base.toward`."""
        return distance(view.predicted, other.target).mean()


@BASES.register("simclr")
class SimCLR(StatisticalBase):
    """SimCLR: distinguish the other view of an image from all views of other images of the batch.

    NT-Xent at `temperature` (Chen et al., ICML 2020, arXiv 2002.05709, eq. 1), mean over all 2B views.
    """

    projector_class = "SimCLRProjectionHead"
    loss_class = "NTXentLoss"

    def __init__(
        self,
        num_features: int,
        *,
        temperature: Annotated[float, at_least(1e-8), "of simclr"] = 0.5,
        **options: Any,
    ) -> None:
        self.temperature = temperature
        super().__init__(num_features, **options)

    def loss_options(self) -> dict[str, Any]:
        """Return the temperature; see `StatisticalBase.loss_options`."""
        return {"temperature": self.temperature}


_BOTTLENECK = 4


@BASES.register("simsiam")
class SimSiam(Base):
    """SimSiam: predict what the network itself makes of the other view, which gets no gradient.

    ½[−cos(q(z1), z2) − cos(q(z2), z1)] (Chen & He, CVPR 2021, arXiv 2011.10566, eq. 4). The predictor's hidden layer
    is a quarter as wide as the embeddings, as there.
    """

    predicts: ClassVar[bool] = True
    projector_class: ClassVar[str] = "SimSiamProjectionHead"

    def __init__(self, num_features: int, *, predictor: Predictor = True, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.loss: nn.Module = _lightly(LOSSES, "simsiam").NegativeCosineSimilarity()
        size = self.embedding_size
        if predictor:
            hidden = max(2, size // _BOTTLENECK)
            self.predictor = _lightly(HEADS, "simsiam").SimSiamPredictionHead(size, hidden, size)

    def toward(self, view: Embedding, other: Embedding) -> Tensor:
        """Return the mean of −cos(q(z), t); see `Base.toward`."""
        loss: Tensor = self.loss(view.predicted, other.target)
        return loss


@BASES.register("vicreg")
class VICReg(StatisticalBase):
    """VICReg: draw views together, keep the variance of every feature up and their covariances down.

    25·s(z, z')/d + 25·[v(z) + v(z')]/2 + c(z) + c(z') (Bardes et al., ICLR 2022, arXiv 2105.04906, eq. 1 to 6). As in
    the authors' code the invariance s is a mean over the d features, the variance v a mean over both views; eq. 5 and 6
    sum both.
    """

    projector_class = "VICRegProjectionHead"
    loss_class = "VICRegLoss"
