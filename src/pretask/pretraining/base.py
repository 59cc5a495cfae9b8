"""The contract of a base: heads, and how the embeddings of two views are drawn together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from pretask.errors import PretaskError
from pretask.pretraining.embedding import Embedding
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


BASES: Registry[type[Base]] = Registry("base", "pretask.pretraining.bases")
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
