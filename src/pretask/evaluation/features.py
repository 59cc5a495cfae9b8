"""Protocols on frozen features: fitted on the training images' features, judged on another split's."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_f1_score

from pretask.data.splits import hold_out
from pretask.errors import PretaskError
from pretask.evaluation import metrics
from pretask.evaluation.predictions import predict
from pretask.evaluation.split import SplitEvaluator

if TYPE_CHECKING:
    from pretask.data.images import ImageData, LabelledImages

CHOOSING_SHARE = 0.1
"""Of the training images, held out to choose by where there is no validation set to spare."""


@dataclass(frozen=True)
class Features:
    """Features float32 [n, D] and labels int64 [n] of images, on the CPU."""

    values: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, indices: Tensor) -> Features:
        """Return some of the images."""
        return Features(self.values[indices], self.labels[indices])


class FeatureEvaluator(SplitEvaluator):
    """An evaluator that fits something small on features of the training images, which are never augmented.

    Options are those of `SplitEvaluator`. Whatever has an `embed` can be judged, with or without a class head.
    """

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return the figures of this split.

        Args:
            classifier: with `embed`, images [B, C, H, W] in [0, 1] → [B, D].
            data: its train images are fitted on.

        Raises:
            PretaskError: the data has no such split, or the network gives values that are not finite.
        """
        if self.split == "train":
            raise PretaskError(
                f"{self.protocol.partition('/')[0]} is fitted on the train images: type --split test"
            )
        judged = self.extract(classifier, self.images(data), data)
        train = self.extract(classifier, data.train, data)
        return self.judge(classifier, data, train, judged)

    @abstractmethod
    def judge(self, network: nn.Module, data: ImageData, train: Features, judged: Features) -> dict[str, Any]:
        """Return the figures of `judged`, by what was fitted on `train`."""

    def extract(self, network: nn.Module, images: LabelledImages, data: ImageData) -> Features:
        """Return the features of some of the images of `data`."""
        with closing(self.loader(network, images, data)) as loader:
            found = predict(_Embedder(network), loader, precision=self.precision)
        return Features(found.logits, found.labels)

    def choosing(
        self, network: nn.Module, data: ImageData, train: Features
    ) -> tuple[Features, Features, str]:
        """Return features to fit on, others to choose by, and which these are; the judged split is neither."""
        if data.validation is not None and self.split != "validation":
            return train, self.extract(network, data.validation, data), "validation"
        kept, held = hold_out(train.labels, CHOOSING_SHARE, seed=0)
        return train.rows(kept), train.rows(held), f"{len(held)} train images held out"


class _Embedder(nn.Module):
    """A network whose answer is its features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.embed(images)  # type: ignore[operator]
        return features


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each feature, [D], of the images that something is fitted on."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Scale:
        """Return the scale of features [n, D]; a feature that never varies is left as it is."""
        deviation = values.std(0, correction=0)
        return cls(values.mean(0), torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))

    def __call__(self, values: Tensor) -> Tensor:
        """Return standardised features."""
        return (values - self.mean) / self.deviation


def figures(scores: Tensor, judged: Features, train_images: int) -> dict[str, Any]:
    """Return what every protocol on features reports.

    Args:
        scores: [n, N], the highest is the answer.
        judged: the n images.
        train_images: how many something was fitted on.
    """
    counts = metrics.confusion(scores, judged.labels)
    return {
        "top1": metrics.top_k(scores, judged.labels),
        "balanced": metrics.balanced_accuracy(metrics.class_accuracies(counts)),
        "macro_f1": float(multiclass_f1_score(scores, judged.labels, scores.shape[1], average="macro")),
        "n": len(judged),
        "train_images": train_images,
        "num_features": judged.values.shape[1],
    }
