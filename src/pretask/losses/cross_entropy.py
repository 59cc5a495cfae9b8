"""Cross-entropy with labels, and with a teacher's logits: distillation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pretask.losses.base import ClassificationLoss, LabelSmoothing, in_full
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


class Distillation(nn.Module):
    """T²·KL(softmax(teacher/T) ‖ softmax(student/T)) per sample (Hinton et al. 2015; Lee et al. 2020, eq. 4).

    The teacher is detached: no gradient reaches it.

    Args:
        temperature: T > 0.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the divergence of each sample: logits [n, K] and [n, K] → [n]."""
        goal = F.log_softmax(in_full(teacher.detach()) / self.temperature, dim=1)
        guess = F.log_softmax(in_full(student) / self.temperature, dim=1)
        divergence = F.kl_div(guess, goal, reduction="none", log_target=True).sum(dim=1)
        return self.temperature**2 * divergence
