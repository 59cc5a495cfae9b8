"""Whether a network still tells images apart, and what to do where it does not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pretask.pretraining.embedding import moments

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
    centred = embeddings.detach().double()
    centred = centred - centred.mean(0)
    values = torch.linalg.svdvals(centred)
    total = float(values.sum())
    if total == 0:
        return 1.0
    shares = values / total
    return float(torch.special.entr(shares).sum().exp())


def collapse_warning(spread_: float, rank: float, size: int, cause: str) -> str:
    """Return what to tell a user whose embeddings have collapsed, with the likely cause, or "".

    Args:
        spread_: see `spread`.
        rank: see `effective_rank`.
        size: d.
        cause: of a collapse, and what to do about it; see `Objective.collapse_cause`.
    """
    if spread_ >= SMALLEST_SPREAD and rank >= SMALLEST_RANK:
        return ""
    return f"the embeddings collapse: spread {spread_:.2f} (1 is even), effective rank {rank:.1f} of {size}; {cause}"
