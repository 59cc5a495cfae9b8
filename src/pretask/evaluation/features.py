"""Frozen features of a data set's splits, and what evaluators on them share."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from pretask.errors import PretaskError
from pretask.evaluation import metrics
from pretask.evaluation.predictions import SplitEvaluator, embed, split_images

if TYPE_CHECKING:
    from pretask.data.images.containers import ImageData


@dataclass(frozen=True, eq=False)
class Features:
    """Values `[n, D]` (float32, CPU) and labels `[n]` (int64, CPU), in the order of the split."""

    values: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Tensor) -> Features:
        """Return the features of some images, by their places `rows` [m] in the split."""
        return Features(self.values[rows], self.labels[rows])


class FeatureBank:
    """The features of each split of a data set, extracted when they are first asked for and kept.

    Args:
        network: a classifier or an encoder.
        data: whose images, unaugmented, go through it.
        options: how they are read.

    Raises:
        PretaskError: in a look-up: the data has no such split, a feature is not finite, or a class has no
            image to learn from.
    """

    def __init__(self, network: nn.Module, data: ImageData, options: SplitEvaluator) -> None:
        self.data = data
        self._network, self._options = network, options
        self._known: dict[str, Features] = {}

    @property
    def num_classes(self) -> int:
        """N, of the data: the classes of the network do not matter here."""
        return self.data.num_classes

    def __getitem__(self, split: str) -> Features:
        if split not in self._known:
            self._known[split] = self._extract(split)
        return self._known[split]

    def _extract(self, split: str) -> Features:
        images = split_images(self.data, split)
        if split == "train":
            _check_every_class(images.labels, self.data)
        with closing(self._options.loader(self._network, images, self.data)) as loader:
            return Features(*embed(self._network, loader, precision=self._options.precision))


class FeatureEvaluator(SplitEvaluator):
    """Fits something small on the features of the train images and judges it on a split.

    The network needs no class head, and the data may have classes that it has never seen: only `embed` is used.

    Args:
        split: "validation" or "test"; and the other options of `SplitEvaluator`.
        seed: of images drawn for a purpose, where there are any.

    Raises:
        PretaskError: an unknown split, or "train", on which the probe is fitted.
    """

    name: str
    fits_train: ClassVar[bool] = True
    """Whether something is fitted on the train images, which then cannot be judged."""

    def __init__(self, split: str = "test", *, seed: int = 0, **options: Any) -> None:
        if split == "train" and self.fits_train:
            raise PretaskError(
                f"{self.name} is fitted on the train images and cannot be judged on them: give split='test'"
            )
        self.seed = seed
        super().__init__(split, **options)

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return the figures of `judge`, over this split of `data`.

        Raises:
            PretaskError: the data has no such split, or too few train images; features are not finite.
        """
        return self.judge(FeatureBank(classifier, data, self))

    @abstractmethod
    def judge(self, bank: FeatureBank) -> dict[str, Any]:
        """Return the figures of a probe on the features that `bank` has of each split.

        They are at least "top1", "balanced", "macro_f1", "n", "train_images" and "num_features".
        """

    @property
    def where(self) -> torch.device:
        """Where the probe computes."""
        return torch.device(self.device or "cpu")


def probe_figures(scores: Tensor, judged: Features, fitted: Features) -> dict[str, Any]:
    """Return the figures that all probes have.

    Args:
        scores: `[n, N]`, the highest is the answer.
        judged: what the scores are for.
        fitted: what the probe was fitted on.
    """
    return {
        **accuracies(scores, judged.labels),
        "n": len(judged),
        "train_images": len(fitted),
        "num_features": fitted.values.shape[1],
    }


def accuracies(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Return "top1", "balanced" and "macro_f1" of scores `[n, N]`."""
    return {
        "top1": metrics.top_k(scores, labels),
        "balanced": metrics.balanced_accuracy(metrics.class_accuracies(metrics.confusion(scores, labels))),
        "macro_f1": metrics.macro_f1(scores, labels),
    }


def _check_every_class(labels: Tensor, data: ImageData) -> None:
    counts = torch.bincount(labels, minlength=data.num_classes)
    if (counts == 0).any():
        missing = data.class_names[int((counts == 0).int().argmax())]
        raise PretaskError(
            f"class '{missing}' of {data.name} has no train image to learn from ({len(labels)} images for "
            f"{data.num_classes} classes): give at least one of each class"
        )
