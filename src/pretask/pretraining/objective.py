"""The contract of pre-training: two views of each image, their embeddings, and a loss without labels."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pretask.backbones import Backbone
from pretask.errors import PretaskError, unknown_name
from pretask.methods.base import Trainee, uncompiled
from pretask.methods.encoder import Encoder, Normalize
from pretask.options import BELOW_ONE, Named, Option, checking
from pretask.pretraining.bases import BASES, create_base
from pretask.pretraining.embedding import Embedding, spread
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

    @uncompiled
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
    """

    backbone: Backbone
    mean: tuple[float, ...]
    std: tuple[float, ...]
    strength: Strength


BaseSpec = Annotated[str, Named("pretask.pretraining.bases:BASES"), "how two views are drawn together"]


class Objective(Trainee):
    """Images in [0, 1] → a loss that draws views of each image together. Labels are never read.

    Args:
        parts: what the objective is built from.
        base: spec of the base.
        target: "auto" is the base's own kind.
        target_momentum: m of the moving average at the beginning, in [0, 1).
        stop_gradient: whether targets are without gradient, as published; False is for experiments on collapse.

    Raises:
        PretaskError: a moving average with gradient.

    Attributes:
        encoder: images → features [B, D]; what is kept when the heads are thrown away.
        passes_per_image: forward-backward passes through the backbone for each image of a step; a forward pass
            without gradient counts a third.
        reconstruction: what is reconstructed of a paper that could not be read in full; model cards say so.
    """

    num_classes = 0
    reconstruction: ClassVar[str] = ""

    def __init__(
        self,
        parts: ObjectiveParts,
        *,
        base: BaseSpec = "simclr",
        target: Annotated[
            Literal["auto", "average", "online"],
            "where targets come from: a moving average of the network, or the network itself; auto is as published",
        ] = "auto",
        target_momentum: Annotated[
            float, BELOW_ONE, "of the moving average at the beginning; it rises to 1 along a cosine"
        ] = 0.99,
        stop_gradient: Annotated[bool, "targets without gradient; off is for experiments on collapse"] = True,
    ) -> None:
        super().__init__()
        facts = parts.backbone.facts
        self.base_name, self.stop_gradient = base.partition(":")[0], stop_gradient
        self.encoder = Encoder(parts.backbone, Normalize(parts.mean, parts.std))
        self.base = create_base(base, parts.backbone.num_features)
        self.augment = RandomViews(parts.strength, facts.image_size, facts.in_channels)
        kind = self.base.default_target if target == "auto" else target
        if kind == "average" and not stop_gradient:
            raise PretaskError(
                "targets from a moving average carry no gradient: type --target online beside --no-stop-gradient"
            )
        online = (self.encoder, self.base.projector)
        self.average = MovingAverage(online, target_momentum) if kind == "average" else None
        self.passes_per_image = self.passes()

    def passes(self) -> float:
        """Return what a step costs per image: here two views, and their targets."""
        return 2.0 + (2 * FORWARD_SHARE if self.average is not None else 0.0)

    def summary(self) -> str:
        """Return what the objective is made of, in a few words."""
        return f"base {self.base_name}, targets from {'a moving average' if self.average else 'the network'}"

    def collapse_cause(self) -> str:
        """Return what would be the likely cause if embeddings collapsed, and what to do about it."""
        if missing := self.missing():
            leave = "them" if len(missing) > 1 else "it"
            return f"this base collapses without {' and '.join(missing)}: leave {leave} on"
        return (
            "the step may be too large, or the batch too small: try a smaller --lr, a larger --batch-size, "
            "or --base vicreg"
        )

    def missing(self) -> list[str]:
        """Return what the base needs and was robbed of, in words."""
        at_work = {
            "a predictor": not isinstance(self.base.predictor, nn.Identity),
            "the stop-gradient": self.stop_gradient,
        }
        return [words for words, there in at_work.items() if self.base.predicts and not there]

    def set_progress(self, fraction: float) -> None:
        """Set which `fraction` of the training is done, 0 … 1."""
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
        return projected.detach() if self.stop_gradient else projected


class ObjectiveRegistry(Registry[type[Objective]]):
    """Objectives by name; the name of a base is that base alone."""

    def __init__(self) -> None:
        super().__init__("pre-training method", "pretask.pretraining")

    def names(self) -> list[str]:
        """Return the names of bases, then those of objectives that mix."""
        return [*BASES.names(), *super().names()]

    def get(self, name: str) -> type[Objective]:
        """Return the class of an objective; see `Registry.get`."""
        if name in BASES.names():
            return Plain
        if name not in self.names():
            raise unknown_name(self.kind, name, self.names())
        return super().get(name)

    def options(self, name: str) -> dict[str, Option]:
        """Return the options of an objective; a base alone has the base's instead of a choice of bases."""
        own = super().options(name)
        if name not in BASES.names():
            return own
        return {**BASES.options(name), **{key: option for key, option in own.items() if key != "base"}}

    def arguments(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the constructor of an objective takes; see `Registry.arguments`."""
        if name not in BASES.names():
            return super().arguments(name, values)
        own = {
            key: value for key, value in values.items() if key in super(ObjectiveRegistry, self).options(name)
        }
        return {**own, "base": BASES.spec(name, values)}


OBJECTIVES = ObjectiveRegistry()
"""Classes of objectives, by name."""


@checking
class Plain(Objective):
    """The base alone: two views of each image are drawn together."""

    def objective(self, first: Tensor, second: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the base's loss; see `Objective.objective`."""
        one, other = self.embed(first), self.embed(second)
        return {"loss": self.base.pair(one, other)}, one.projected


def create_objective(spec: str, parts: ObjectiveParts, **options: Any) -> Objective:
    """Return the objective that a spec names, as in "simclr" or "trimix:base=byol:consistency_weight=0".

    Args:
        spec: name and options; the name of a base is that base alone.
        parts: see `ObjectiveParts`.
        options: the same beside the spec.

    Raises:
        PretaskError: an unknown name or option, a value out of range, or parts that do not suit the objective.
        MissingExtra: `lightly` or `kornia` is not installed.
    """
    objective: Objective = OBJECTIVES.create(spec, parts, **options)
    return objective
