"""Label-distribution-aware margins, for long-tailed data."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.losses.base import ClassificationLoss, LabelSmoothing, as_probabilities
from pretask.losses.factory import LOSSES
from pretask.losses.reweighting import positive_counts
from pretask.options import above

Margin = Annotated[float, above(0), "of the rarest class"]
Scale = Annotated[float, above(0), "factor of the cosines of ldam's head"]


@LOSSES.register("ldam")
class LDAM(ClassificationLoss):
    """Cross-entropy whose target's cosine is lowered by a margin, larger for rarer classes: C / n_k^(1/4).

    Cao et al., NeurIPS 2019, arXiv 1906.07413, eq. 13 and 14. C makes the rarest class's margin `ldam_margin`.
    Logits are s·cos, so the margin taken from them is s·C / n_k^(1/4); a soft target q takes q_k of each.

    Args:
        class_counts: training images of each of the K labels.
        label_smoothing: in [0, 1).
        ldam_margin: of the rarest class, above 0.
        ldam_scale: s, above 0.

    Raises:
        PretaskError: no counts, or a class without images.
    """

    margins: Tensor

    def __init__(
        self,
        class_counts: Tensor,
        *,
        label_smoothing: LabelSmoothing = 0.0,
        ldam_margin: Margin = 0.5,
        ldam_scale: Scale = 30.0,
    ) -> None:
        super().__init__()
        self.logit_scale: float = ldam_scale
        self.label_smoothing = label_smoothing
        rarity = positive_counts(class_counts, "LDAM").pow(-0.25)
        margins = ldam_margin * rarity / rarity.max()
        self.register_buffer("margins", margins.to(torch.float32), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample, of logits s·cos; see `ClassificationLoss.forward`."""
        lowered = logits - self.logit_scale * self.margins * as_probabilities(targets, logits)
        return F.cross_entropy(lowered, targets, reduction="none", label_smoothing=self.label_smoothing)
