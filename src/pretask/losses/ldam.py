"""Label-distribution-aware margins, for long-tailed data."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.losses.base import ClassificationLoss, as_probabilities
from pretask.losses.factory import LOSSES
from pretask.losses.options import DEFAULTS, LossOptions
from pretask.losses.reweighting import positive_counts


@LOSSES.register("ldam")
class LDAM(ClassificationLoss):
    """Cross-entropy whose target's cosine is lowered by a margin, larger for rarer classes: C / n_k^(1/4).

    Cao et al., NeurIPS 2019, arXiv 1906.07413, eq. 13 and 14. C makes the rarest class's margin `ldam_margin`.
    Logits are s·cos, so the margin taken from them is s·C / n_k^(1/4); a soft target q takes q_k of each.

    Args:
        class_counts: training images of each of the K labels.
        options: `ldam_margin`, `ldam_scale` (s) and `label_smoothing`.

    Raises:
        PretaskError: no counts, or a class without images.
    """

    margins: Tensor

    def __init__(self, class_counts: Tensor, options: LossOptions = DEFAULTS) -> None:
        super().__init__()
        self.logit_scale: float = options.ldam_scale
        self.label_smoothing = options.label_smoothing
        rarity = positive_counts(class_counts, "LDAM").pow(-0.25)
        margins = options.ldam_margin * rarity / rarity.max()
        self.register_buffer("margins", margins.to(torch.float32), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample, of logits s·cos; see `ClassificationLoss.forward`."""
        lowered = logits - self.logit_scale * self.margins * as_probabilities(targets, logits)
        return F.cross_entropy(lowered, targets, reduction="none", label_smoothing=self.label_smoothing)
