"""Probabilities that say how often an answer is right, and sets of answers that hold the right one often enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FEWEST_IMAGES = 50
"""Below which nothing is calibrated: so few say too little."""
LOWEST, HIGHEST = 0.05, 20.0
"""Of a temperature."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the number by which logits are to be divided so that their softmax is calibrated.

    It minimises the cross-entropy on images that were not trained on (Guo et al., "On Calibration of Modern Neural
    Networks", ICML 2017, section 4.2). Labels count as certain to (n + 1) / (n + 2) (Platt, 1999), which keeps the
    temperature of a classifier without errors from falling to zero.

    Args:
        logits: [n, N].
        labels: int64 [n].

    Returns:
        from 0.05 to 20; 1 for one class, or fewer than 50 images.
    """
    from scipy.optimize import minimize_scalar

    n, classes = logits.shape
    if n < FEWEST_IMAGES or classes < 2:
        return 1.0
    doubt = 1 / (n + 2)
    targets = torch.full((n, classes), doubt / (classes - 1), dtype=torch.float64)
    targets.scatter_(1, labels[:, None], 1 - doubt)
    exact = logits.double()

    def loss(log_temperature: float) -> float:
        scaled = (exact / math.exp(log_temperature)).log_softmax(1)
        return float(-(targets * scaled).sum(1).mean())

    found = minimize_scalar(loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded")
    return float(f"{math.exp(found.x):.4g}")


def doubts(logits: Tensor, labels: Tensor) -> list[float]:
    """Return 1 less the probability of the right class of each image, in rising order, for `threshold`.

    Args:
        logits: [n, N], calibrated.
        labels: int64 [n].

    Returns:
        at most 1,000 numbers, evenly chosen; none for fewer than 50 images.
    """
    if len(labels) < FEWEST_IMAGES:
        return []
    right = logits.double().softmax(1).gather(1, labels[:, None]).squeeze(1)
    ordered = (1 - right).sort().values
    if len(ordered) > 1000:
        ordered = ordered[torch.linspace(0, len(ordered) - 1, 1000).round().long()]
    return [float(f"{value:.6g}") for value in ordered.tolist()]


def threshold(doubts: Sequence[float], coverage: float) -> float:
    """Return the least probability of a class that belongs to the answer, so that answers hold the truth often enough.

    Split conformal prediction (Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers", 2019): on new
    images like those of `doubts`, the set of all classes with at least this probability holds the right one in a share
    of at least `coverage`, in the mean over such sets of images.

    Args:
        doubts: see there.
        coverage: in (0, 1).

    Returns:
        0 where there are too few images for such a coverage: then every class belongs to the answer.
    """
    rank = math.ceil((len(doubts) + 1) * coverage)
    return 0.0 if rank > len(doubts) else max(0.0, 1 - doubts[rank - 1])
