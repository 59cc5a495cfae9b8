"""Plain training and the controls of every pretext: its changes without their labels, or with a head of their own."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from pretask.errors import PretaskError
from pretask.methods.base import (
    METHODS,
    Layer,
    Method,
    MethodParts,
    PretextScale,
    PretextWeight,
    accuracy,
    hard_labels,
    pretext_head,
)
from pretask.methods.classifier import Classifier
from pretask.methods.multi_view import MultiViewMethod, Views
from pretask.pretexts.discard import Discard


@METHODS.register("baseline")
class Baseline(Method):
    """The classification loss on the images as they are; no pretext."""

    def __init__(self, parts: MethodParts) -> None:
        super().__init__(parts)
        self.loss = parts.make_loss(parts.class_counts)
        self.head = parts.head(parts.num_classes, self.loss)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the classification loss; see `Method.forward`."""
        logits = self.head(self.features(images))
        loss = self.loss(logits, labels).mean()
        return {"loss": loss, "accuracy": accuracy(logits.detach().argmax(1), hard_labels(labels))}

    def features(self, images: Tensor) -> Tensor:
        """Return the features [B, D] of a step's images."""
        features: Tensor = self.encoder(images)
        return features

    def _classifier(self, inference: str) -> Classifier:
        return Classifier(self.plain, self.head)


@METHODS.register("da")
class DataAugmentation(MultiViewMethod):
    """mean_j L(u·z_j, y): one head of N, every view has its image's class (Lee et al. 2020, eq. 1)."""

    inferences: tuple[str, ...] = ("single", "aggregated")

    def __init__(self, parts: MethodParts, **options: Any) -> None:
        super().__init__(parts, **options)
        self.loss = parts.make_loss(parts.class_counts)
        self.head = parts.head(parts.num_classes, self.loss)
        if self.encoder.stochastic:
            self.inferences = ("single",)

    def objective(self, features: Tensor, targets: Tensor, view_labels: Tensor) -> dict[str, Tensor]:
        """Return the classification loss over views; see `MultiViewMethod.objective`."""
        logits = self.head(features)
        loss = self.reduce_views(self.loss(logits, targets))
        return {"loss": loss, "accuracy": accuracy(logits.detach().argmax(1), hard_labels(targets))}

    def _classifier(self, inference: str) -> Classifier:
        if inference == "aggregated":
            return Classifier(self.encoder, self.head, "mean")
        return Classifier(self.plain, self.head)


@METHODS.register("da-patch")
class PatchAugmentation(DataAugmentation):
    """One patch of each image is changed, the label of the change unused: the control of `lorot`."""

    default_pretexts = ("lorot-e",)
    inferences = ("single",)

    def __init__(self, parts: MethodParts, *, views: Views = 1, **options: Any) -> None:
        super().__init__(parts, views=views, **options)


@METHODS.register("ssfe-da")
class DiscardAugmentation(DataAugmentation):
    """The masks of `ssfe` without their labels: channel dropout of fixed patterns."""

    default_pretexts = ("discard",)


@METHODS.register("mt")
class MultiTask(DataAugmentation):
    """mean_j [L(u·z_j, y) + w·CE(v·z_j, j)]: heads of N and M (Lee et al. 2020, eq. 2, where w = 1)."""

    def __init__(
        self,
        parts: MethodParts,
        *,
        pretext_weight: PretextWeight = 1.0,
        pretext_scale: PretextScale = None,
        **options: Any,
    ) -> None:
        super().__init__(parts, **options)
        self.pretext_head = pretext_head(parts, self.loss, self.encoder.num_labels, pretext_scale)
        self.pretext_weight = pretext_weight

    def objective(self, features: Tensor, targets: Tensor, view_labels: Tensor) -> dict[str, Tensor]:
        """Return the sum of both tasks' losses; see `MultiViewMethod.objective`."""
        parts = super().objective(features, targets, view_labels)
        logits = self.pretext_head(features)
        pretext_loss = self.reduce_views(F.cross_entropy(logits, view_labels, reduction="none"))
        return {
            **parts,
            "loss": parts["loss"] + self.pretext_weight * pretext_loss,
            "classification_loss": parts["loss"].detach(),
            "pretext_loss": pretext_loss.detach(),
            "pretext_accuracy": accuracy(logits.detach().argmax(1), view_labels),
        }


@METHODS.register("ssfe-mt")
class DiscardMultiTask(MultiTask):
    """The masks of `ssfe` predicted by a second head instead of joint labels: its two-head control."""

    default_pretexts = ("discard",)


@METHODS.register("ssfe-dropout")
class FeatureDropout(Baseline):
    """Ordinary dropout where `ssfe` masks, at the rate at which it masks."""

    default_pretexts: ClassVar[tuple[str, ...]] = ("discard",)

    def __init__(self, parts: MethodParts, *, layer: Layer = None) -> None:
        super().__init__(parts)
        self.encoder = parts.encoder(self.pretexts_of(parts), layer)
        pretext = self.encoder.feature_pretext
        if not isinstance(pretext, Discard):
            raise PretaskError(
                f"ssfe-dropout drops at the rate of one mask, {self.encoder.name} is none: type --pretexts discard"
            )
        self.rate = pretext.dropped_share

    def features(self, images: Tensor) -> Tensor:
        """Return the features [B, D] of a step's images, a share of them dropped."""
        return self.encoder.changed(images, lambda x: F.dropout(x, self.rate, self.training))

    def summary(self) -> str:
        """Return the rate."""
        return f"dropout of {100 * self.rate:g} %"
