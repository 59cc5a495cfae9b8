"""Self-supervised label augmentation: one head over (class, transformation), alone or distilled (Lee et al. 2020)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.errors import PretaskError
from pretask.losses import Distillation
from pretask.methods.base import METHODS, MethodParts, accuracy, hard_labels
from pretask.methods.classifier import Classifier, Head, aggregate_drawn, head_of_columns
from pretask.methods.multi_view import BatchOf, MultiViewMethod, Views
from pretask.options import above, at_least


@METHODS.register("sla")
class JointLabels(MultiViewMethod):
    """mean_j L(w·z_j, y·M + j): one head of N·M (Lee et al. 2020, eq. 3).

    Where features are changed, view 0 is not the plain image; "unmasked" then reads the plain image, the mean
    of a class's columns over the feature views.
    """

    inferences: tuple[str, ...] = ("aggregated", "single")

    def __init__(self, parts: MethodParts, **options: Any) -> None:
        super().__init__(parts, **options)
        if self.encoder.stochastic:
            raise PretaskError(
                f"{self.encoder.name} leaves its place to chance, so that averaged answers would differ from call "
                "to call: put the place into the label, as in patch-flip:position=yes, or use --method gssl"
            )
        self.num_labels = self.encoder.num_labels
        self.joint_loss = parts.make_loss(parts.class_counts.repeat_interleave(self.num_labels))
        self.joint_head = parts.head(parts.num_classes * self.num_labels, self.joint_loss)
        if not self.encoder.first_is_plain:
            self.inferences = (*self.inferences, "unmasked")

    def objective(self, features: Tensor, targets: Tensor, view_labels: Tensor) -> dict[str, Tensor]:
        """Return the loss over joint labels; see `MultiViewMethod.objective`."""
        return self.joint_parts(self.joint_head(features), targets, view_labels)

    def joint_parts(self, logits: Tensor, targets: Tensor, view_labels: Tensor) -> dict[str, Tensor]:
        """Return the loss over joint labels of logits [B·V, N·M], and the accuracy in both parts of the label."""
        losses = self.joint_loss(logits, joint_targets(targets, view_labels, self.num_labels))
        predicted = logits.detach().argmax(1)
        return {
            "loss": self.reduce_views(losses),
            "accuracy": accuracy(predicted // self.num_labels, hard_labels(targets)),
            "pretext_accuracy": accuracy(predicted % self.num_labels, view_labels),
        }

    def plain_logits(self, features: Tensor) -> Tensor:
        """Return the plain image's columns, or the mean of all where none are; see `Method.plain_logits`."""
        by_class: Tensor = self.joint_head(features).unflatten(1, (self.num_classes, self.num_labels))
        return by_class[..., : self._plain_columns].mean(2)

    @property
    def _plain_columns(self) -> int:
        return 1 if self.encoder.first_is_plain else self.encoder.feature_views

    def _classifier(self, inference: str) -> Classifier:
        if inference == "aggregated":
            return Classifier(self.encoder, self.joint_head, "joint")
        if inference == "unmasked":
            return Classifier(self.encoder, self._first_columns(self._plain_columns), "columns")
        if self.encoder.first_is_plain:
            return Classifier(self.plain, self._first_columns(1))
        return Classifier(self.encoder, self._first_columns(1), "first")

    def _first_columns(self, count: int) -> Head:
        """Return the head of each class's first `count` joint labels: those of the untransformed image."""
        rows = torch.arange(self.num_classes)[:, None] * self.num_labels + torch.arange(count)
        return head_of_columns(self.joint_head, rows.flatten().to(self.joint_head.weight.device))


@METHODS.register("ssfe")
class FeatureEnhancement(JointLabels):
    """Joint labels of class and dropped channels: SSFE, a reconstruction of Yang et al., arXiv 2106.04921."""

    default_pretexts = ("discard",)


@METHODS.register("sla+ssfe")
class JointLabelsOfBoth(JointLabels):
    """Joint labels of class, rotation and dropped channels."""

    default_pretexts = ("rotation", "discard")


def joint_targets(targets: Tensor, view_labels: Tensor, num_labels: int) -> Tensor:
    """Return targets over joint labels.

    Args:
        targets: int64 [n] in 0 … N-1, or class probabilities [n, N].
        view_labels: int64 [n] in 0 … M-1.
        num_labels: M.

    Returns:
        int64 [n], y·M + j; or probabilities [n, N·M] that hold the class probabilities in the columns of view j.
    """
    if targets.dim() == 1:
        return targets * num_labels + view_labels
    view = F.one_hot(view_labels, num_labels).to(targets.dtype)
    return (targets[:, :, None] * view[:, None, :]).flatten(1)


@METHODS.register("sla-sd")
class DistilledJointLabels(JointLabels):
    """SLA whose aggregated answer is distilled into a plain head that sees the untransformed image only.

    L_SLA + T²·KL(softmax(agg/T) ‖ softmax(u·z/T)) + β·L(u·z, y), the aggregate detached (Lee et al. 2020, eq. 4;
    T and β as in the authors' code). A sum over views concerns the joint term alone.

    With k of M views a step sees the untransformed image and k - 1 others, drawn at random; the aggregate is that of
    these k, an estimate of the whole one.

    Raises:
        PretaskError: one view, which leaves nothing to aggregate; fewer than all where none is the plain image.
    """

    inferences = ("distilled", "aggregated", "single")

    def __init__(
        self,
        parts: MethodParts,
        *,
        distill_temperature: Annotated[float, above(0), "temperature of self-distillation"] = 1.0,
        distill_weight: Annotated[
            float, at_least(0), "weight of the distilled head's own cross-entropy"
        ] = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(parts, **options)
        if self.drawn == 1:
            raise PretaskError(
                "distillation needs an aggregate of at least two views, 1 was asked for: "
                f"type --views with 2 to {self.num_labels}, or use --method sla"
            )
        if self.drawn is not None and not self.encoder.first_is_plain:
            raise PretaskError(
                f"{self.encoder.name} has no view that is the plain image, so that distillation needs all "
                f"{self.num_labels}: drop --views, or use --method ssfe"
            )
        self.loss = parts.make_loss(parts.class_counts)
        self.head = parts.head(parts.num_classes, self.loss)
        self.distillation = Distillation(distill_temperature)
        self.distill_weight = distill_weight
        if not self.encoder.first_is_plain and self.encoder.layer is not None:
            self.passes_per_image += 1

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the joint loss plus both terms of the distilled head; see `Method.forward`."""
        features, plain, view_labels = self._views_and_plain(images)
        joint_logits = self.joint_head(features)
        targets = labels.repeat_interleave(self.views_per_image, dim=0)
        parts = self.joint_parts(joint_logits, targets, view_labels)
        logits = self.head(plain)
        by_image = (len(images), self.views_per_image)
        teacher = aggregate_drawn(
            joint_logits.reshape(*by_image, -1), view_labels.reshape(by_image), self.num_labels
        )
        distillation_loss = self.distillation(logits, teacher).mean()
        head_loss = self.loss(logits, labels).mean()
        return {
            **parts,
            "loss": parts["loss"] + distillation_loss + self.distill_weight * head_loss,
            "joint_loss": parts["loss"].detach(),
            "distillation_loss": distillation_loss.detach(),
            "distilled_loss": head_loss.detach(),
            "distilled_accuracy": accuracy(logits.detach().argmax(1), hard_labels(labels)),
        }

    def plain_logits(self, features: Tensor) -> Tensor:
        """Return the distilled head's logits; see `Method.plain_logits`."""
        logits: Tensor = self.head(features)
        return logits

    def _views_and_plain(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features of a step's views [B·V, D], of the plain images [B, D], and the views' labels [B·V]."""
        if self.drawn is None:
            return *self.encoder.views_and_plain(images), self.all_labels(images)
        features, view_labels = self.encoder.drawn_views(images, self.drawn, with_first=True)
        return features, features[:: self.drawn], view_labels

    def _classifier(self, inference: str) -> Classifier:
        if inference == "distilled":
            return Classifier(self.plain, self.head)
        return super()._classifier(inference)


@METHODS.register("sla-fast")
class FastJointLabels(DistilledJointLabels):
    """SLA-SD from two views of each image, in steps of as many views as the baseline's steps have images."""

    def __init__(
        self, parts: MethodParts, *, views: Views = 2, batch_of: BatchOf = "views", **options: Any
    ) -> None:
        super().__init__(parts, views=views, batch_of=batch_of, **options)


@METHODS.register("ssfe-sd")
class DistilledFeatureEnhancement(DistilledJointLabels):
    """SSFE with SLA's self-distillation into a head on the unmasked features."""

    default_pretexts = ("discard",)
