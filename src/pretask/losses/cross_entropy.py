"""Cross-entropy with label smoothing."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from pretask.losses.base import ClassificationLoss, LabelSmoothing
from pretask.losses.factory import LOSSES


@LOSSES.register("cross_entropy")
class CrossEntropy(ClassificationLoss):
    """-Σ_k q_k log softmax(logits)_k, with q = (1-s)·target + s/K (Szegedy et al. 2016, section 7).

    Args:
        class_counts: training images of each of the K labels; not used by this loss.
        label_smoothing: s, in [0, 1).
    """

    def __init__(self, class_counts: Tensor, *, label_smoothing: LabelSmoothing = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each sample; see `ClassificationLoss.forward`."""
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=self.label_smoothing)
