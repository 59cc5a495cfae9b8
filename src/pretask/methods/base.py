"""The contract of a method, and the parts every method is made of."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from pretask.backbones import Backbone
from pretask.errors import PretaskError, unknown_name
from pretask.losses import ClassificationLoss, LossFactory, create_head, create_loss
from pretask.methods.classifier import Classifier, Head
from pretask.methods.encoder import Encoder, Normalize
from pretask.options import above, at_least
from pretask.pretexts import Pretext, create_pretexts
from pretask.registry import Registry

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
        unlabelled_views: views of each that the loader makes; those after the first are behind all other images.
        mean_over_images: whether the loss of a batch is the mean of its images' losses, batch statistics and
            gates aside, so that the gradient may be taken in pieces.
        progress: the share of the training that is done, 0 … 1, as last set.
    """

    encoder: Encoder
    num_classes: int
    passes_per_image: float
    image_views: int = 1
    unlabelled_per_image: int = 0
    unlabelled_views: int = 1
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
        """Set which `fraction` of the training is done, 0 … 1, for what changes with time."""
        self.progress = fraction

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the objective of one step.

        Args:
            images: [B, C, H, W] in [0, 1]; further views of unlabelled images follow where it takes such.
            labels: int64 [B]; not read where `num_classes` is 0.

        Returns:
            "loss", a scalar to differentiate, and detached scalars for the log.
        """


PretextWeight = Annotated[float, at_least(0), "total weight of the pretext losses"]
PretextScale = Annotated[
    float | None,
    above(0),
    "of pretext cosines beside an ldam head",
]
Layer = Annotated[
    str | None,
    "after which features are changed, as in blocks.9",
]


@dataclass(frozen=True)
class MethodParts:
    """What every method is built from; its own options are parameters of its constructor.

    Attributes:
        backbone: normalised images [B, C, H, W] → features [B, D].
        class_counts: training images of each class, int64 [N]; its length is the number of classes.
        mean, std: of the training pixels in [0, 1], per channel.
        pretexts: transformations of images or features; the method's own where empty.
        make_loss: classification loss, built once per head.
    """

    backbone: Backbone
    class_counts: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pretexts: Sequence[Pretext] = ()
    make_loss: LossFactory = field(default_factory=lambda: create_loss("cross_entropy"))

    @property
    def num_classes(self) -> int:
        """N."""
        return len(self.class_counts)

    def encoder(self, pretexts: Sequence[Pretext] = (), layer: str | None = None) -> Encoder:
        """Return the backbone with the views of `pretexts`, those of features at `layer`; see `Encoder`."""
        at = layer if pretexts else None
        return Encoder(self.backbone, Normalize(self.mean, self.std), pretexts, at)

    def head(self, num_labels: int, loss: ClassificationLoss) -> Head:
        """Return a head over `num_labels` classes or joint labels, normalised where the loss needs it."""
        return create_head(self.backbone.num_features, num_labels, loss.logit_scale)


class Method(Trainee):
    """A training objective: images in [0, 1] and labels → a loss and its named parts.

    Attributes:
        default_pretexts: names of the pretexts it takes where none are given.
        default_low_resolution: side of images in the first part of a training, as a share of the full side, and
            that part's share of the training, where none are given.
        inferences: the ways a trained model can answer; the first is the default.
        encoder: images → features, with the views that the method trains on.
        views_per_image: labelled views of an image in a step.
        passes_per_image: what they cost, in forward and backward passes through the backbone.
    """

    default_pretexts: ClassVar[tuple[str, ...]] = ()
    default_low_resolution: ClassVar[tuple[float, float]] = (1.0, 0.0)
    mean_over_images: ClassVar[bool] = True
    inferences: tuple[str, ...] = ("single",)
    views_per_image: int = 1

    def __init__(self, parts: MethodParts, encoder: Encoder | None = None) -> None:
        super().__init__()
        self.encoder = encoder if encoder is not None else parts.encoder()
        self.num_classes = parts.num_classes
        self.passes_per_image = 1.0

    @classmethod
    def pretexts_of(cls, parts: MethodParts) -> tuple[Pretext, ...]:
        """Return the pretexts given, or else the method's own."""
        return tuple(parts.pretexts) or create_pretexts(cls.default_pretexts)

    @property
    def pretexts(self) -> tuple[Pretext, ...]:
        """The pretexts at work."""
        return self.encoder.pretexts

    @property
    def plain(self) -> Encoder:
        """The same backbone without views: what answers in one pass must not carry them."""
        return Encoder(self.encoder.backbone, self.encoder.normalize)

    def images_per_step(self, batch_size: int) -> int:
        """Return how many labelled images of a step make a batch of `batch_size`."""
        return batch_size

    def set_progress(self, fraction: float) -> None:
        """Set which `fraction` of the training is done, 0 … 1, for what changes with time, losses among it."""
        super().set_progress(fraction)
        for module in self.modules():
            if isinstance(module, ClassificationLoss):
                module.set_progress(fraction)

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the objective of one step.

        Args:
            images: [B, C, H, W] in [0, 1].
            labels: int64 [B], or class probabilities [B, N] (MixUp, CutMix).

        Returns:
            "loss", a scalar to differentiate, and scalars for the log: "accuracy" and the like, detached.
        """

    def plain_logits(self, features: Tensor) -> Tensor:
        """Return class logits [n, N] of features [n, D] of images as they are, with gradient to the head.

        Raises:
            PretaskError: the method answers from changed images alone.
        """
        for name in self.inferences:
            if (classifier := self._classifier(name)).reading == "plain":
                logits: Tensor = classifier.head(features)
                return logits
        raise PretaskError(
            f"this method answers from changed images alone ({', '.join(self.inferences)}), and an answer from images "
            "as they are is needed: type --method fixmatch+sla-sd, for example"
        )

    @abstractmethod
    def _classifier(self, inference: str) -> Classifier:
        """Return the classifier of one of `inferences`; its backbone is shared, not copied."""

    def classifier(self, inference: str | None = None) -> Classifier:
        """Return the deployable classifier, sharing this method's weights.

        Args:
            inference: one of `inferences`; None is the first.

        Raises:
            PretaskError: the method does not offer that inference.
        """
        chosen = self.inferences[0] if inference is None else inference
        if chosen not in self.inferences:
            raise unknown_name("inference of this method", chosen, self.inferences)
        return self._classifier(chosen)


def pretext_head(parts: MethodParts, loss: ClassificationLoss, num_labels: int, scale: float | None) -> Head:
    """Return the head of a pretext beside a class head that is trained with `loss`.

    Args:
        parts: of the method.
        loss: of the class head; where its logits are cosines, those of the pretext head are too.
        num_labels: M.
        scale: what these cosines are multiplied by; None takes the class head's.
    """
    scale = None if loss.logit_scale is None else (scale or loss.logit_scale)
    return create_head(parts.backbone.num_features, num_labels, scale)


def hard_labels(targets: Tensor) -> Tensor:
    """Return int64 labels [n] of labels [n] or probabilities [n, K]."""
    return targets if targets.dim() == 1 else targets.argmax(dim=1)


def accuracy(predicted: Tensor, targets: Tensor) -> Tensor:
    """Return the share of int64 predictions [n] that equal int64 targets [n], as a scalar tensor."""
    return (predicted == targets).float().mean()


class MethodRegistry(Registry[type[Method]]):
    """Methods by name; "WRAPPER+NAME" is the method NAME with something added to it."""

    def __init__(self) -> None:
        super().__init__("method", "pretask.methods")
        self._wrappers: dict[str, Callable[[type[Method]], type[Method]]] = {}

    def wrap(self, prefix: str, wrapper: Callable[[type[Method]], type[Method]]) -> None:
        """Make "prefix+NAME" a name for what `wrapper` makes of each method."""
        self._wrappers[prefix] = wrapper

    def get(self, name: str) -> type[Method]:
        """Return the method called `name`; see `Registry.get`."""
        prefix, plus, inner = name.partition("+")
        self._discover()  # finds wrappers too
        if plus and prefix in self._wrappers:
            return self._wrappers[prefix](super().get(inner))
        return super().get(name)


METHODS = MethodRegistry()
"""Classes of methods, by name."""


def create_method(spec: str, parts: MethodParts, **options: Any) -> Method:
    """Return the method that a spec names, as in "sla" or "sla-sd:views=2", made of `parts`.

    Args:
        spec: name and options.
        parts: see `MethodParts`.
        options: the same beside the spec.

    Raises:
        PretaskError: an unknown name or option, a value out of range, or parts that do not suit the method.
    """
    method: Method = METHODS.create(spec, parts, **options)
    return method
