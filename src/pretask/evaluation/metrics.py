"""Metrics over logits and labels. All are shares in [0, 1]; `None` stands for one that does not exist.

Beside the logits, and the matrix of `confusion`, none takes more memory than a few numbers per image and per class.
They equal those of torchmetrics bit for bit, whose import takes longer than that of torch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# The borders of Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019.
MANY_MORE_THAN = 100
FEW_LESS_THAN = 20
ECE_BINS = 15
_NUMBERS_AT_ONCE = 2**24
"""Logits that are looked at in twice their precision at a time."""


def top_k(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """Return the share of images whose label is among the `k` highest logits, `k` clamped to N.

    Args:
        logits: `[n, N]`, n ≥ 1.
        labels: `[n]`, int64 in [0, N).
    """
    if k >= logits.shape[1]:
        return 1.0
    # Of equal logits argmax takes the first, topk any.
    named = logits.argmax(1, keepdim=True) if k == 1 else logits.topk(k).indices
    return float((named == labels[:, None]).sum().float() / len(labels))


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the counts `[N, N]` (int64): rows are true classes, columns predicted ones."""
    num_classes = logits.shape[1]
    cells = torch.bincount(labels * num_classes + logits.argmax(1), minlength=num_classes**2)
    return cells.view(num_classes, num_classes)


def class_counts(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each class, int64 `[N]`: its images, how many answers name it, and how many of these are right."""
    named, num_classes = logits.argmax(1), logits.shape[1]
    columns = (labels, named, labels[labels == named])
    images, answers, right = (torch.bincount(column, minlength=num_classes) for column in columns)
    return images, answers, right


def class_accuracies(logits: Tensor, labels: Tensor) -> list[float | None]:
    """Return the recall of each class; `None` for a class without images."""
    images, _, right = class_counts(logits, labels)
    return [
        hit / total if total else None for hit, total in zip(right.tolist(), images.tolist(), strict=True)
    ]


def balanced_accuracy(accuracies: list[float | None]) -> float:
    """Return the mean of the class accuracies, over the classes that have images."""
    mean = _mean(accuracies)
    if mean is None:
        raise ValueError("no class has an image")
    return mean


def macro_f1(logits: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of the harmonic mean of precision and recall.

    Classes that have no image and are never predicted do not count.
    """
    images, answers, right = class_counts(logits, labels)
    named_or_true = answers + images
    scores = 2 * right / named_or_true.clamp(min=1)
    return float((scores / (named_or_true > 0).sum()).sum())


def group_accuracy(accuracies: list[float | None], train_counts: Tensor) -> dict[str, float | None]:
    """Return the mean class accuracy of the many-, medium- and few-shot classes.

    A class has many train images with more than 100, few with fewer than 20, and is medium between
    (Liu et al., CVPR 2019). A group without a class that can be judged is `None`.

    Args:
        accuracies: one per class.
        train_counts: `[N]`, train images per class.

    Raises:
        ValueError: the two lengths differ.
    """
    groups: dict[str, list[float | None]] = {"many": [], "medium": [], "few": []}
    for accuracy, count in zip(accuracies, train_counts.tolist(), strict=True):
        groups[_group(count)].append(accuracy)
    return {name: _mean(members) for name, members in groups.items()}


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = ECE_BINS) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins, weighted by their images.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    if logits.shape[1] == 1:
        return 0.0
    confidence, right, places = _binned(logits, labels, bins)
    counts, means, accuracies = (
        torch.zeros(bins + 1).scatter_add_(0, places, values)
        for values in (torch.ones_like(confidence), confidence, right.float())
    )
    gaps = (accuracies / counts).nan_to_num() - (means / counts).nan_to_num()
    return float((gaps.abs() * (counts / counts.sum())).sum())


def reliability(logits: Tensor, labels: Tensor, bins: int = ECE_BINS) -> dict[str, list[float | None]]:
    """Return each bin's mean confidence, accuracy and share of the images: the diagram behind the ECE.

    Bin b holds the confidences in [b/bins, (b+1)/bins), the last one also 1; an empty bin has share 0 and
    `None` for the rest.
    """
    confidence, right, places = _binned(logits, labels, bins)
    counts = torch.bincount(places, minlength=bins).tolist()
    sums = torch.bincount(places, weights=confidence.double(), minlength=bins).tolist()
    hits = torch.bincount(places, weights=right.double(), minlength=bins).tolist()
    return {
        "confidence": [s / c if c else None for s, c in zip(sums, counts, strict=True)],
        "accuracy": [h / c if c else None for h, c in zip(hits, counts, strict=True)],
        "share": [c / len(labels) for c in counts],
    }


def mean_loss(logits: Tensor, labels: Tensor) -> float:
    """Return the mean negative log-likelihood of the labels."""
    pieces = zip(_pieces(logits), _pieces(labels, logits.shape[1]), strict=True)
    return sum(float(F.cross_entropy(some.double(), own, reduction="sum")) for some, own in pieces) / len(
        labels
    )


def confused_pairs(logits: Tensor, labels: Tensor, limit: int = 20) -> list[tuple[int, int, int]]:
    """Return the most frequent mistakes as (true class, predicted class, images); of equals the first classes."""
    named, num_classes = logits.argmax(1), logits.shape[1]
    wrong = labels != named
    pairs, images = torch.unique(labels[wrong] * num_classes + named[wrong], return_counts=True)
    images, order = images.sort(descending=True, stable=True)
    return [
        (pair // num_classes, pair % num_classes, n)
        for pair, n in zip(pairs[order][:limit].tolist(), images[:limit].tolist(), strict=True)
    ]


def _binned(logits: Tensor, labels: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the confidence of each answer, whether it is right, and its bin; a confidence of 1 is in the last."""
    best = [some.double().softmax(1).float().max(1) for some in _pieces(logits)]
    named = torch.cat([indices for _, indices in best])
    confidence = torch.cat([values for values, _ in best]).clamp(max=1 - 1e-7)
    places = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1), right=True) - 1
    return confidence, named == labels, places


def _pieces(rows: Tensor, width: int | None = None) -> tuple[Tensor, ...]:
    """Return rows in pieces of which each stands for `_NUMBERS_AT_ONCE` logits; `width` is that of the logits."""
    return torch.split(rows, max(1, _NUMBERS_AT_ONCE // (rows.shape[1] if width is None else width)))


def _group(train_images: int) -> str:
    if train_images > MANY_MORE_THAN:
        return "many"
    return "few" if train_images < FEW_LESS_THAN else "medium"


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
