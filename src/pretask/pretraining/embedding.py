"""A view of a batch on its way through the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pretask.methods.ranks import sum_over_ranks

_EPS = 1e-5


@dataclass(frozen=True)
class Embedding:
    """What the network makes of one view of B images.

    Attributes:
        features: f(x), [B, D].
        projected: z = g(f(x)), [B, d].
        predicted: q(z), [B, d]; z itself where the base has no predictor.
        target: t, [B, d], what other views are drawn to; it carries no gradient unless asked for.
    """

    features: Tensor
    projected: Tensor
    predicted: Tensor
    target: Tensor

    def at(self, order: Tensor) -> Embedding:
        """Return the embeddings of the images `order`, int64 [n]."""
        return Embedding(
            self.features[order], self.projected[order], self.predicted[order], self.target[order]
        )


def distance(u: Tensor, t: Tensor) -> Tensor:
    """Return 2 − 2⟨u/‖u‖, t/‖t‖⟩ for each row of [B, d]: the squared distance of the normalised rows, [B]."""
    return 2 - 2 * F.cosine_similarity(u, t, dim=1)


def moments(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column of [B, d], over the batches of all processes."""
    count = sum_over_ranks(torch.full((), float(len(t)), device=t.device))
    mean = sum_over_ranks(t.sum(0)) / count
    variance = sum_over_ranks((t - mean).square().sum(0)) / count
    return mean, (variance + _EPS).sqrt()
