"""The embedding of a view, its moments over all processes, and signs that embeddings collapse."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pretask.distributed.gathering import sum_over_ranks

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


SMALLEST_SPREAD = 0.1
SMALLEST_RANK = 1.5


def spread(embeddings: Tensor) -> Tensor:
    """Return how far normalised embeddings [B, d] lie apart: 1 where they fill all directions, 0 in one point.

    The mean over features of their standard deviation, times √d (Chen & He, CVPR 2021, section 4.1).
    """
    _, deviation = moments(F.normalize(embeddings.detach().float(), dim=1))
    apart: Tensor = deviation.mean() * embeddings.shape[1] ** 0.5
    return apart


def effective_rank(embeddings: Tensor) -> float:
    """Return how many directions centred embeddings [n, d] use.

    The exponential of the entropy of their singular values (Roy & Vetterli, EUSIPCO 2007): from 1, all on one line or
    in one point, to d.
    """
    held = embeddings.detach()
    centred = (held.cpu() if held.is_mps else held).double()  # a Mac's GPU has no such numbers
    centred = centred - centred.mean(0)
    values = torch.linalg.svdvals(centred)
    total = float(values.sum())
    if total == 0:
        return 1.0
    shares = values / total
    return float(torch.special.entr(shares).sum().exp())


def collapse_warning(spread_: float, rank: float, size: int, cause: str) -> str:
    """Return the warning for embeddings that have collapsed, with the likely cause, or "".

    Args:
        spread_: see `spread`.
        rank: see `effective_rank`.
        size: d.
        cause: of a collapse, and what to do about it; see `Objective.collapse_cause`.
    """
    if spread_ >= SMALLEST_SPREAD and rank >= SMALLEST_RANK:
        return ""
    return f"the embeddings collapse: spread {spread_:.2f} (1 is even), effective rank {rank:.1f} of {size}; {cause}"
