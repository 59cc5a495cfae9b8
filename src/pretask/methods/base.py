"""The contract of a method, and the parts every method is made of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from pretask.backbones import Backbone
from pretask.errors import unknown_name
from pretask.losses import ClassificationLoss, LossFactory, create_head, create_loss
from pretask.methods.classifier import Classifier, Head
from pretask.methods.encoder import Encoder, Normalize
from pretask.methods.gate import GateOptions
from pretask.methods.trainee import Trainee
from pretask.pretexts import Pretext, create_pretexts

ViewReduction = Literal["mean", "sum"]
BatchOf = Literal["images", "views"]


@dataclass(frozen=True)
class MethodParts:
    """What a method is built from; each method takes what it uses.

    Attributes:
        backbone: normalised images [B, C, H, W] → features [B, D].
        class_counts: training images of each class, int64 [N]; its length is the number of classes.
        mean, std: of the training pixels in [0, 1], per channel.
        pretexts: transformations of images or features; the method's own where empty.
        layer: where features are changed, a name of `backbone.named_modules()`; None is the end.
        make_loss: classification loss, built once per head.
        views: k views drawn at random per image and step, without repeats; None takes all M.
        view_reduction: mean or sum of the loss over an image's views.
        pretext_weight: total weight of the pretext heads' losses; the method's own where None.
        pretext_scale: of the cosines of pretext heads, which are normalised where the class head is (LDAM);
            None takes the class head's.
        gate: how several pretext heads share the weight.
        distill_temperature: T of self-distillation.
        distill_weight: β, weight of the cross-entropy of the distilled head.
        pseudo_threshold: τ of FixMatch, the least confidence of a guess that counts.
        align_guesses: whether FixMatch brings its guesses to the class frequencies of the labels.
        unlabelled_weight: λ_u of FixMatch.
        unlabelled_ratio: μ of FixMatch, unlabelled images in a step for each labelled one.
    """

    backbone: Backbone
    class_counts: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pretexts: Sequence[Pretext] = ()
    layer: str | None = None
    make_loss: LossFactory = field(default_factory=lambda: create_loss("cross_entropy"))
    views: int | None = None
    view_reduction: ViewReduction = "mean"
    pretext_weight: float | None = None
    pretext_scale: float | None = None
    gate: GateOptions = field(default_factory=GateOptions)
    distill_temperature: float = 1.0
    distill_weight: float = 1.0
    pseudo_threshold: float = 0.95
    align_guesses: bool = False
    unlabelled_weight: float = 1.0
    unlabelled_ratio: int = 7

    @property
    def num_classes(self) -> int:
        """N."""
        return len(self.class_counts)

    def encoder(self, pretexts: Sequence[Pretext] = ()) -> Encoder:
        """Return the backbone with the views of `pretexts`."""
        layer = self.layer if pretexts else None
        return Encoder(self.backbone, Normalize(self.mean, self.std), pretexts, layer)

    def head(self, num_labels: int, loss: ClassificationLoss) -> Head:
        """Return a head over `num_labels` classes or joint labels, normalised where the loss needs it."""
        return create_head(self.backbone.num_features, num_labels, loss.logit_scale)


class Method(Trainee):
    """A training objective: images in [0, 1] and labels → a loss and its named parts.

    Attributes:
        default_pretexts: names of the pretexts it takes where none are given.
        default_views: views of each image in a step where no number is given; None takes all.
        default_batch_of: what makes up the size of a batch where neither is asked for, images or views of images.
        default_pretext_weight: where no weight is given.
        default_low_resolution: side of images in the first part of a training, as a share of the full side, and
            that part's share of the training, where none are given.
        inferences: the ways a trained model can answer; the first is the default.
        encoder: images → features, with the views that the method trains on.
        views_per_image: labelled views of an image in a step.
        passes_per_image: what they cost, in forward and backward passes through the backbone.
    """

    default_pretexts: ClassVar[tuple[str, ...]] = ()
    default_views: ClassVar[int | None] = None
    default_batch_of: ClassVar[BatchOf] = "images"
    default_pretext_weight: ClassVar[float] = 1.0
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

    @classmethod
    def pretext_weight_of(cls, parts: MethodParts) -> float:
        """Return the weight given, or else the method's own."""
        return cls.default_pretext_weight if parts.pretext_weight is None else parts.pretext_weight

    @property
    def pretexts(self) -> tuple[Pretext, ...]:
        """The pretexts at work."""
        return self.encoder.pretexts

    @property
    def plain(self) -> Encoder:
        """The same backbone without views: what answers in one pass must not carry them."""
        return Encoder(self.encoder.backbone, self.encoder.normalize)

    def set_progress(self, fraction: float) -> None:
        """Tell what changes with time, losses among it, which `fraction` of the training is done, 0 … 1."""
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


def pretext_head(parts: MethodParts, loss: ClassificationLoss, num_labels: int) -> Head:
    """Return the head of a pretext beside a class head that is trained with `loss`."""
    scale = None if loss.logit_scale is None else (parts.pretext_scale or loss.logit_scale)
    return create_head(parts.backbone.num_features, num_labels, scale)


def hard_labels(targets: Tensor) -> Tensor:
    """Return int64 labels [n] of labels [n] or probabilities [n, K]."""
    return targets if targets.dim() == 1 else targets.argmax(dim=1)


def accuracy(predicted: Tensor, targets: Tensor) -> Tensor:
    """Return the share of int64 predictions [n] that equal int64 targets [n], as a scalar tensor."""
    return (predicted == targets).float().mean()
