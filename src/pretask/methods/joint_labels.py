"""Self-supervised label augmentation (Lee et al. 2020, arXiv 1910.05872): one head over (class, transformation)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.errors import PretaskError
from pretask.methods.base import MethodParts, accuracy, hard_labels
from pretask.methods.classifier import Classifier, Head, head_of_columns
from pretask.methods.factory import METHODS
from pretask.methods.multi_view import MultiViewMethod


@METHODS.register("sla")
class JointLabels(MultiViewMethod):
    """mean_j L(w·z_j, y·M + j): one head of N·M (Lee et al. 2020, eq. 3).

    Where features are changed, view 0 is not the plain image; "unmasked" then reads the plain image, the mean
    of a class's columns over the feature views.
    """

    inferences: tuple[str, ...] = ("aggregated", "single")

    def __init__(self, parts: MethodParts) -> None:
        super().__init__(parts)
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

    def _classifier(self, inference: str) -> Classifier:
        if inference == "aggregated":
            return Classifier(self.encoder, self.joint_head, "joint")
        if inference == "unmasked":
            return Classifier(self.encoder, self._first_columns(self.encoder.feature_views), "columns")
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
