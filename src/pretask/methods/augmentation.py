"""The pretext's transformations as augmentation, their labels unused: the control of every pretext."""

from __future__ import annotations

from torch import Tensor

from pretask.methods.base import MethodParts, accuracy, hard_labels
from pretask.methods.classifier import Classifier
from pretask.methods.factory import METHODS
from pretask.methods.multi_view import MultiViewMethod


@METHODS.register("da")
class DataAugmentation(MultiViewMethod):
    """mean_j L(u·z_j, y): one head of N, every view has its image's class (Lee et al. 2020, eq. 1)."""

    inferences: tuple[str, ...] = ("single", "aggregated")

    def __init__(self, parts: MethodParts) -> None:
        super().__init__(parts)
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
    default_views = 1
    inferences = ("single",)


@METHODS.register("ssfe-da")
class DiscardAugmentation(DataAugmentation):
    """The masks of `ssfe` without their labels: channel dropout of fixed patterns."""

    default_pretexts = ("discard",)
