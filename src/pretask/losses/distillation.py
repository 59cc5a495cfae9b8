"""Distillation from a teacher's logits."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


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
        goal = F.log_softmax(teacher.detach() / self.temperature, dim=1)
        guess = F.log_softmax(student / self.temperature, dim=1)
        divergence = F.kl_div(guess, goal, reduction="none", log_target=True).sum(dim=1)
        return self.temperature**2 * divergence
