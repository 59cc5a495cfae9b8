"""What the training loop trains: supervised methods, and objectives of pre-training."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from pretask.backbones import Backbone
from pretask.methods.encoder import Encoder

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """Keep `torch.compile` out of a function: `torch.compiler.disable`, which loads the compiler, at the first call."""
    made: list[Callable[P, R]] = []

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        if not made:
            made.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return made[0](*arguments, **named)

    return call


class Trainee(nn.Module, ABC):
    """Images and labels → a loss and its named parts.

    Attributes:
        encoder: images → features.
        num_classes: N; 0 where labels are not read.
        passes_per_image: what an image of a step costs, in forward and backward passes through the backbone.
        image_views: views of an image in a step that go through the backbone from its beginning.
        unlabelled_per_image: images without labels that a step takes beside each labelled one, behind all of these.
        mean_over_images: whether the loss of a batch is the mean of its images' losses, batch statistics and
            gates aside, so that the gradient may be taken in pieces.
        progress: the share of the training that is done, 0 … 1, as last told.
    """

    encoder: Encoder
    num_classes: int
    passes_per_image: float
    image_views: int = 1
    unlabelled_per_image: int = 0
    mean_over_images: ClassVar[bool] = False
    progress: float = 0.0

    @property
    def backbone(self) -> Backbone:
        """The network."""
        return self.encoder.backbone

    def summary(self) -> str:
        """Return what it adds to plain training, in a few words."""
        return ""

    def set_progress(self, fraction: float) -> None:
        """Tell what changes with time which `fraction` of the training is done, 0 … 1."""
        self.progress = fraction

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the objective of one step.

        Args:
            images: [B, C, H, W] in [0, 1].
            labels: int64 [B]; not read where `num_classes` is 0.

        Returns:
            "loss", a scalar to differentiate, and detached scalars for the log.
        """
