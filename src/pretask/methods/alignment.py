"""Guesses brought to the class frequencies of the labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretask.methods.ranks import mean_over_ranks

WINDOW = 128
"""Steps over which guesses are averaged, as in ReMixMatch; here with weights that decay."""


class DistributionAlignment(nn.Module):
    """Class probabilities whose mean over steps is that of the labels: p̃ ∝ p · p(y) / p̄.

    A network that sees few labels drifts towards guessing a few classes, and learns its own guesses; this takes the
    drift out of them. Berthelot et al., "ReMixMatch", ICLR 2020, arXiv 1911.09785, section 3.1.

    Args:
        class_counts: labelled images of each class, int64 [N].

    Attributes:
        average: p̄, mean probabilities of the guesses so far, [N]; the labels' frequencies at first.
    """

    frequencies: Tensor
    average: Tensor

    def __init__(self, class_counts: Tensor) -> None:
        super().__init__()
        frequencies = class_counts.float() / class_counts.sum()
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("average", frequencies.clone())

    @torch.no_grad()
    def forward(self, probabilities: Tensor) -> Tensor:
        """Take the mean of probabilities [B, N] into account, over all ranks, return them aligned."""
        self.average.lerp_(mean_over_ranks(probabilities.mean(0)).to(self.average.dtype), 1 / WINDOW)
        aligned = probabilities * (self.frequencies / self.average.clamp_min(1e-6))
        return aligned / aligned.sum(1, keepdim=True)
