"""The pretext as a second task with a head of its own."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from pretask.methods.augmentation import DataAugmentation
from pretask.methods.base import MethodParts, accuracy, pretext_head
from pretask.methods.factory import METHODS


@METHODS.register("mt")
class MultiTask(DataAugmentation):
    """mean_j [L(u·z_j, y) + w·CE(v·z_j, j)]: heads of N and M (Lee et al. 2020, eq. 2, where w = 1)."""

    def __init__(self, parts: MethodParts) -> None:
        super().__init__(parts)
        self.pretext_head = pretext_head(parts, self.loss, self.encoder.num_labels)
        self.pretext_weight = self.pretext_weight_of(parts)

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
    """The masks of `ssfe` told by a second head instead of joint labels: its two-head control."""

    default_pretexts = ("discard",)
