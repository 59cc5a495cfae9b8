"""The contract of a classification loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.options import BELOW_ONE

LabelSmoothing = Annotated[float, BELOW_ONE, "share of the target spread over all labels"]
"""The option of losses that smooth labels."""


class ClassificationLoss(nn.Module, ABC):
    """A loss over K labels, one value per sample.

    Attributes:
        logit_scale: None for logits of any kind; s where the loss needs s·cos(x, w_k) as logits, which is what
            `create_head` with this scale returns.
    """

    logit_scale: float | None = None

    @abstractmethod
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample.

        Args:
            logits: [n, K].
            targets: int64 [n] labels in 0 … K-1, or [n, K] probabilities.

        Returns:
            [n], not reduced.
        """

    def set_progress(self, fraction: float) -> None:
        """Set how far the training is; called before each step.

        Args:
            fraction: steps done / steps asked for, in 0 … 1, or the share of the time where that ends the training.
        """


def in_full(logits: Tensor) -> Tensor:
    """Return logits in float32 at least: on a CPU autocast leaves their softmax in bf16, which knows no 0.95."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def as_probabilities(targets: Tensor, logits: Tensor) -> Tensor:
    """Return targets, int64 [n] or probabilities [n, K], as probabilities of the logits' shape [n, K]."""
    return targets if targets.dim() == 2 else F.one_hot(targets, logits.shape[1]).to(logits.dtype)
