"""Joint labels whose aggregated answer is distilled into a plain head."""

from __future__ import annotations

from torch import Tensor

from pretask.errors import PretaskError
from pretask.losses import Distillation
from pretask.methods.base import MethodParts, accuracy, hard_labels
from pretask.methods.classifier import Classifier, aggregate_joint
from pretask.methods.factory import METHODS
from pretask.methods.joint_labels import JointLabels


@METHODS.register("sla-sd")
class DistilledJointLabels(JointLabels):
    """SLA whose aggregated answer is distilled into a plain head that sees the untransformed image only.

    L_SLA + T²·KL(softmax(agg/T) ‖ softmax(u·z/T)) + β·L(u·z, y), the aggregate detached (Lee et al. 2020, eq. 4;
    T and β as in the authors' code). A sum over views concerns the joint term alone.

    Raises:
        PretaskError: fewer than all views, which leave nothing to aggregate.
    """

    inferences = ("distilled", "aggregated", "single")

    def __init__(self, parts: MethodParts) -> None:
        super().__init__(parts)
        if self.drawn is not None:
            raise PretaskError(
                f"distillation needs all {self.num_labels} views, {parts.views} were asked for: "
                "drop --views or use --method sla"
            )
        self.loss = parts.make_loss(parts.class_counts)
        self.head = parts.head(parts.num_classes, self.loss)
        self.distillation = Distillation(parts.distill_temperature)
        self.distill_weight = parts.distill_weight
        if not self.encoder.first_is_plain and self.encoder.layer is not None:
            self.passes_per_image += 1

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the joint loss plus both terms of the distilled head; see `Method.forward`."""
        features, plain = self.encoder.views_and_plain(images)
        joint_logits = self.joint_head(features)
        targets = labels.repeat_interleave(self.num_labels, dim=0)
        parts = self.joint_parts(joint_logits, targets, self.all_labels(images))
        logits = self.head(plain)
        teacher = aggregate_joint(joint_logits.reshape(len(images), self.num_labels, -1))
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

    def _classifier(self, inference: str) -> Classifier:
        if inference == "distilled":
            return Classifier(self.plain, self.head)
        return super()._classifier(inference)


@METHODS.register("ssfe-sd")
class DistilledFeatureEnhancement(DistilledJointLabels):
    """SSFE with SLA's self-distillation into a head on the unmasked features."""

    default_pretexts = ("discard",)
