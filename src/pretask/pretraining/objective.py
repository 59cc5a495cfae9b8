"""The contract of pre-training: two views of each image, their embeddings, and a loss without labels."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor, nn

from pretask.backbones import Backbone
from pretask.errors import PretaskError, unknown_name
from pretask.methods.encoder import Encoder, Normalize
from pretask.methods.trainee import Trainee
from pretask.pretraining.bases import BASES, HeadOptions, create_base
from pretask.pretraining.embedding import Embedding, spread
from pretask.pretraining.mixing import TriMixOptions
from pretask.pretraining.views import RandomViews, Strength
from pretask.registry import Registry


class MovingAverage(nn.Module):
    """A copy of modules that follows them: w ← m·w + (1 − m)·w_online, without gradient.

    m rises from its start to 1 along a cosine over the training (Grill et al. 2020, section 3.3). Statistics of
    normalisation are the copy's own.

    Args:
        online: modules that are called one after the other.
        start: m at the beginning, 0 ≤ m < 1.
    """

    momentum: Tensor

    def __init__(self, online: tuple[nn.Module, ...], start: float) -> None:
        super().__init__()
        self.stages = nn.ModuleList(copy.deepcopy(module) for module in online)
        for weight in self.parameters():
            weight.requires_grad_(False)
        self.start = start
        self.register_buffer("momentum", torch.tensor(start), persistent=False)

    def set_progress(self, fraction: float) -> None:
        """Set m for a share of the training that is done, 0 … 1."""
        self.momentum.fill_(1 - (1 - self.start) * (math.cos(math.pi * fraction) + 1) / 2)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def follow(self, online: tuple[nn.Module, ...]) -> None:
        """Take one step towards the modules."""
        leaders = list(chain.from_iterable(module.parameters() for module in online))
        weight = (1 - self.momentum).to(leaders[0].dtype)
        for mine, theirs in zip(self.parameters(), leaders, strict=True):
            mine.lerp_(theirs, weight)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return what the last stage makes of `x`."""
        for stage in self.stages:
            x = stage(x)
        return x


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


@OBJECTIVES.register("plain")
class Plain(Objective):
    """The base alone: two views of each image are drawn together."""

    def objective(self, first: Tensor, second: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the base's loss; see `Objective.objective`."""
        one, other = self.embed(first), self.embed(second)
        return {"loss": self.base.pair(one, other)}, one.projected


_PLAIN = "plain"


def objective_names() -> list[str]:
    """Return the names that `create_objective` knows: bases alone first."""
    return [*BASES.names(), *(name for name in OBJECTIVES.names() if name != _PLAIN)]


def default_base(name: str) -> str:
    """Return the base that an objective has where none is given; of a base alone, that base.

    Raises:
        PretaskError: an unknown name.
    """
    return name if name in BASES.names() else _mixing(name).default_base


def create_objective(name: str, parts: ObjectiveParts) -> Objective:
    """Return an objective; the name of a base is that base alone.

    Raises:
        PretaskError: an unknown name, or parts that do not suit the objective.
        MissingExtra: `lightly` or `kornia` is not installed.
    """
    if name in BASES.names():
        return Plain(replace(parts, base=name))
    return _mixing(name)(parts)


def _mixing(name: str) -> type[Objective]:
    if name not in objective_names():
        raise unknown_name("pre-training method", name, objective_names())
    return OBJECTIVES.get(name)
