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


def collapse_warning(
    spread_: float, rank: float, size: int, *, predictor: bool, stop_gradient: bool, needs_both: bool
) -> str:
    """Return what to tell a user whose embeddings have collapsed, with the likely cause, or "".

    Args:
        spread_: see `spread`.
        rank: see `effective_rank`.
        size: d.
        predictor, stop_gradient: whether they are at work.
        needs_both: whether the base is known to collapse without them.
    """
    if spread_ >= SMALLEST_SPREAD and rank >= SMALLEST_RANK:
        return ""
    missing = [
        words
        for words, there in (("a predictor", predictor), ("the stop-gradient", stop_gradient))
        if needs_both and not there
    ]
    cause = (
        f"this base collapses without {' and '.join(missing)}: leave {'them' if len(missing) > 1 else 'it'} on"
        if missing
        else "the step may be too large, or the batch too small: try a smaller --lr, a larger --batch-size, "
        "or --base vicreg"
    )
    return f"the embeddings collapse: spread {spread_:.2f} (1 is even), effective rank {rank:.1f} of {size}; {cause}"
