"""The contract of pre-training: two views of each image, their embeddings, and a loss without labels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from pretask.backbones import Backbone
from pretask.errors import PretaskError
from pretask.methods.encoder import Encoder
from pretask.methods.normalize import Normalize
from pretask.methods.trainee import Trainee
from pretask.pretraining.average import MovingAverage
from pretask.pretraining.base import HeadOptions, create_base
from pretask.pretraining.collapse import spread
from pretask.pretraining.embedding import Embedding
from pretask.pretraining.strengths import Strength
from pretask.pretraining.trimix_options import TriMixOptions
from pretask.pretraining.views import RandomViews
from pretask.registry import Registry

FORWARD_SHARE = 1 / 3
"""Of a forward and backward pass, what the forward pass takes."""


@dataclass(frozen=True)
class ObjectiveParts:
    """What an objective is built from.

    Attributes:
        backbone: normalised images [B, C, H, W] → features [B, D].
        mean, std: of the training pixels in [0, 1], per channel.
        strength: of the views.
        base: name of the base; the objective's own where None.
        heads: sizes of projector and predictor.
        target: "auto" is the base's own kind.
        target_momentum: m of the moving average at the beginning.
        stop_gradient: whether targets are without gradient, as published; for experiments on collapse.
        mix: of mixing objectives.
    """

    backbone: Backbone
    mean: tuple[float, ...]
    std: tuple[float, ...]
    strength: Strength
    base: str | None = None
    heads: HeadOptions = field(default_factory=HeadOptions)
    target: str = "auto"
    target_momentum: float = 0.99
    stop_gradient: bool = True
    mix: TriMixOptions = field(default_factory=TriMixOptions)


class Objective(Trainee):
    """Images in [0, 1] → a loss that draws views of each image together. Labels are never read.

    Args:
        parts: what the objective is built from.

    Attributes:
        encoder: images → features [B, D]; what is kept when the heads are thrown away.
        passes_per_image: forward-backward passes through the backbone for each image of a step; a forward pass
            without gradient counts a third.
        default_base: where none is given.
        reconstruction: what is reconstructed of a paper that could not be read in full; model cards say so.
    """

    num_classes = 0
    reconstruction: ClassVar[str] = ""
    default_base: ClassVar[str] = "simclr"

    def __init__(self, parts: ObjectiveParts) -> None:
        super().__init__()
        facts = parts.backbone.facts
        self.parts, self.base_name = parts, parts.base or self.default_base
        self.encoder = Encoder(parts.backbone, Normalize(parts.mean, parts.std))
        self.base = create_base(self.base_name, parts.backbone.num_features, parts.heads)
        self.augment = RandomViews(parts.strength, facts.image_size, facts.in_channels)
        kind = self.base.default_target if parts.target == "auto" else parts.target
        _check_target(kind, parts)
        online = (self.encoder, self.base.projector)
        self.average = MovingAverage(online, parts.target_momentum) if kind == "average" else None
        self.passes_per_image = self.passes()

    def passes(self) -> float:
        """Return what a step costs per image: here two views, and their targets."""
        return 2.0 + (2 * FORWARD_SHARE if self.average is not None else 0.0)

    def summary(self) -> str:
        """Return what the objective is made of, in a few words."""
        return f"base {self.base_name}, targets from {'a moving average' if self.average else 'the network'}"

    def collapse_cause(self) -> str:
        """Return what would be the likely cause if embeddings collapsed, and what to do about it."""
        at_work = {"a predictor": self.parts.heads.predictor, "the stop-gradient": self.parts.stop_gradient}
        missing = [words for words, there in at_work.items() if self.base.predicts and not there]
        if missing:
            leave = "them" if len(missing) > 1 else "it"
            return f"this base collapses without {' and '.join(missing)}: leave {leave} on"
        return (
            "the step may be too large, or the batch too small: try a smaller --lr, a larger --batch-size, "
            "or --base vicreg"
        )

    def set_progress(self, fraction: float) -> None:
        """Tell which `fraction` of the training is done, 0 … 1."""
        super().set_progress(fraction)
        if self.average is not None:
            self.average.set_progress(fraction)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return the objective of one step.

        Args:
            images: [B, C, H, W] in [0, 1], B at least 2.
            labels: not read.

        Returns:
            "loss", a scalar to differentiate, and detached scalars for the log; "spread" is 0 where all images have
            one embedding.
        """
        if self.average is not None and self.training:
            self.average.follow((self.encoder, self.base.projector))
        parts, embeddings = self.objective(self.augment(images), self.augment(images))
        return {**parts, "spread": spread(embeddings)}

    @abstractmethod
    def objective(self, first: Tensor, second: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return "loss" and its parts for two views [B, C, H, W], and embeddings [B, d] to watch."""

    def embed(self, views: Tensor) -> Embedding:
        """Return the embedding [B, d] of one view [B, C, H, W] of each image, with its target."""
        features = self.encoder(views)
        projected = self.base.projector(features)
        return Embedding(features, projected, self.base.predictor(projected), self._target(views, projected))

    def target_of(self, views: Tensor) -> Tensor:
        """Return the target [B, d] alone, without gradient."""
        if self.average is not None:
            averaged: Tensor = self.average(views)
            return averaged
        own: Tensor = self.base.projector(self.encoder(views))
        return own.detach()

    def _target(self, views: Tensor, projected: Tensor) -> Tensor:
        if self.average is not None:
            averaged: Tensor = self.average(views)
            return averaged
        return projected.detach() if self.parts.stop_gradient else projected


OBJECTIVES: Registry[type[Objective]] = Registry("pre-training objective", "pretask.pretraining")
"""Classes of objectives that mix, by name; bases alone are objectives too, see `create_objective`."""


def _check_target(kind: str, parts: ObjectiveParts) -> None:
    if kind == "average" and not parts.stop_gradient:
        raise PretaskError(
            "targets from a moving average carry no gradient: type --target online beside --no-stop-gradient"
        )
    if not 0 <= parts.target_momentum < 1:
        raise PretaskError(
            f"a moving average with momentum {parts.target_momentum:g} is not possible: "
            "type --target-momentum with a number from 0 to below 1"
        )
