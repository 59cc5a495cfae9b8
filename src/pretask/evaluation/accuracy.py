"""How often a classifier is right, for whom, and whether it knows it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from pretask.evaluation import metrics
from pretask.evaluation.base import EVALUATORS, Headline
from pretask.evaluation.predictions import Precision, Predictions, SplitEvaluator, predict, split_loader

if TYPE_CHECKING:
    from pretask.data.images.containers import ImageData, LabelledImages
    from pretask.data.loaders.loader import Loader

CONFUSION_CLASSES = 256  # beyond this a matrix is megabytes of JSON; the most confused pairs remain


@EVALUATORS.register("accuracy")
class Accuracy(SplitEvaluator):
    """Top-1 and top-5, balanced and per-group accuracy, negative log-likelihood, calibration, confusion.

    Settings are those of `SplitEvaluator`.
    """

    name = "accuracy"
    metrics: ClassVar[tuple[str, ...]] = ("top1", "top5", "balanced")

    def constants(self) -> str:
        return (
            "accuracy/1: top-1, top-5 (clamped to N), balanced accuracy over classes with images, "
            f"many>{metrics.MANY_MORE_THAN}/medium/few<{metrics.FEW_LESS_THAN} train images, "
            f"mean NLL, ECE {metrics.ECE_BINS} equal-width bins"
        )

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return what `all_metrics` does, over this split of `data`.

        Raises:
            PretaskError: the data has no such split, the classifier has another number of classes, or it
                gives logits that are not finite.
        """
        return all_metrics(self.predictions(classifier, data), data.class_counts)

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return the shares of right answers, and the calibration error."""
        titles = {"balanced": "balanced", "many": "many", "medium": "medium", "few": "few", "ece": "ECE"}
        if found.get("temperature", 1) != 1:
            titles["ece_uncalibrated"] = "ECE before calibration"
        top = ("top-1", found["top1"], "%"), (f"top-{found['top5_k']}", found["top5"], "%")
        return [*top, *((title, found.get(key), "%") for key, title in titles.items())]


def all_metrics(predictions: Predictions, train_counts: torch.Tensor) -> dict[str, Any]:
    """Return every number of the protocol, JSON-able.

    Args:
        predictions: logits `[n, N]` and labels `[n]`.
        train_counts: `[N]`, train images per class.

    Returns:
        "top1", "top5" (with "top5_k", its k after clamping), "balanced", "many", "medium", "few", "loss",
        "ece", "n"; "per_class" and "images_per_class", one entry per class; "confusion" (rows are true
        classes; `None` beyond 256 classes), "confused_pairs" [true, predicted, images], "reliability".
    """
    logits, labels = predictions.logits, predictions.labels
    per_class = metrics.class_accuracies(logits, labels)
    small = predictions.num_classes <= CONFUSION_CLASSES
    return {
        **summary(predictions),
        "top5": metrics.top_k(logits, labels, 5),
        "top5_k": min(5, predictions.num_classes),
        **metrics.group_accuracy(per_class, train_counts),
        "ece": metrics.expected_calibration_error(logits, labels),
        "per_class": per_class,
        "images_per_class": metrics.class_counts(logits, labels)[0].tolist(),
        "confusion": metrics.confusion(logits, labels).tolist() if small else None,
        "confused_pairs": [list(pair) for pair in metrics.confused_pairs(logits, labels)],
        "reliability": metrics.reliability(logits, labels),
    }


def summary(predictions: Predictions) -> dict[str, float]:
    """Return the cheap metrics: "top1", "balanced", "loss" (mean negative log-likelihood) and "n"."""
    logits, labels = predictions.logits, predictions.labels
    return {
        "top1": metrics.top_k(logits, labels),
        "balanced": metrics.balanced_accuracy(metrics.class_accuracies(logits, labels)),
        "loss": metrics.mean_loss(logits, labels),
        "n": len(labels),
    }


def evaluate_loader(
    classifier: nn.Module, loader: Loader, *, precision: Precision = nullcontext
) -> dict[str, float]:
    """Return the cheap metrics over a loader that is kept, as training does after every epoch; see `predict`."""
    return summary(predict(classifier, loader, precision=precision))


def evaluate_split(
    classifier: nn.Module,
    split: LabelledImages,
    *,
    image_size: tuple[int, int],
    batch_size: int = 256,
    device: torch.device | str | None = None,
    channels_last: bool = False,
    precision: Precision = nullcontext,
    workers: int = 4,
) -> dict[str, float]:
    """Return the cheap metrics ("top1", "balanced", "loss", "n") of a classifier on labelled images.

    Args:
        classifier: images [B, C, H, W] in [0, 1] to logits [B, N].
        split: images and their labels.
        image_size: (height, width) that the classifier takes.
        batch_size, device, channels_last, precision, workers: see `SplitEvaluator`.

    Raises:
        PretaskError: there are no images, one cannot be read, or a logit is not finite.
    """
    loader = split_loader(
        classifier,
        split,
        image_size=image_size,
        batch_size=batch_size,
        device=device,
        channels_last=channels_last,
        workers=workers,
    )
    with closing(loader):
        return evaluate_loader(classifier, loader, precision=precision)
