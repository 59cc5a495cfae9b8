"""Joint labels whose aggregated answer is distilled into a plain head (Lee et al. 2020, arXiv 1910.05872)."""

from __future__ import annotations

from torch import Tensor

from pretask.errors import PretaskError
from pretask.losses import Distillation
from pretask.methods.base import MethodParts, accuracy, hard_labels
from pretask.methods.classifier import Classifier, aggregate_drawn
from pretask.methods.factory import METHODS
from pretask.methods.joint_labels import JointLabels


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

    def __init__(self, parts: MethodParts) -> None:
        super().__init__(parts)
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
        self.distillation = Distillation(parts.distill_temperature)
        self.distill_weight = parts.distill_weight
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

    default_views = 2
    default_batch_of = "views"


@METHODS.register("ssfe-sd")
class DistilledFeatureEnhancement(DistilledJointLabels):
    """SSFE with SLA's self-distillation into a head on the unmasked features."""

    default_pretexts = ("discard",)
