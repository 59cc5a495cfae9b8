"""Plain supervised training."""

from __future__ import annotations

from torch import Tensor

from pretask.methods.base import Method, MethodParts, accuracy, hard_labels
from pretask.methods.classifier import Classifier
from pretask.methods.factory import METHODS


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
