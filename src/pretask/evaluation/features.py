"""Frozen features of a data set's splits, and what evaluators on them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from pretask.data.splits.apply import apply_splits
from pretask.errors import PretaskError
from pretask.evaluation import metrics
from pretask.evaluation.base import Headline
from pretask.evaluation.predictions import SplitEvaluator, embed, split_images
from pretask.options import Range, at_least, checking

if TYPE_CHECKING:
    from pretask.data.images.containers import ImageData

_PART = Range(lambda value: 0 < value <= 1, "above 0, at most 1")


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


@dataclass(frozen=True)
class Budget:
    """From how many train images may be learned: of each class, or a share of each; from all where both are None.

    Attributes:
        per_class, label_fraction, seed: see `apply_splits`.
    """

    per_class: int | None = None
    label_fraction: float | None = None
    seed: int = 0

    @property
    def unlimited(self) -> bool:
        """Whether it is all of them."""
        return self.per_class is None and self.label_fraction is None

    def apply(self, data: ImageData) -> ImageData:
        """Return data with the train images that may be learned from; other splits stay as they are.

        Raises:
            PretaskError: see `apply_splits`.
        """
        if self.unlimited:
            return data
        # Data without validation images keep none: a probe then holds out some of the labels that it may use.
        return apply_splits(
            data, validation=0, per_class=self.per_class, label_fraction=self.label_fraction, seed=self.seed
        )


class FeatureBank:
    """The features of each split of a data set, extracted when they are first asked for and kept.

    Args:
        network: a classifier or an encoder.
        data: whose images, unaugmented, go through it.
        options: how they are read.
        beside: the bank of data that differs in its train images alone, with which it shares the other splits.

    Raises:
        PretaskError: in a look-up: the data has no such split, a feature is not finite, or a class has no
            image to learn from.
    """

    def __init__(
        self, network: nn.Module, data: ImageData, options: SplitEvaluator, beside: FeatureBank | None = None
    ) -> None:
        self.data = data
        self._network, self._options = network, options
        self._train: dict[str, Features] = {}
        self._judged: dict[str, Features] = {} if beside is None else beside._judged

    @property
    def num_classes(self) -> int:
        """N, of the data: the classes of the network do not matter here."""
        return self.data.num_classes

    def __getitem__(self, split: str) -> Features:
        known = self._train if split == "train" else self._judged
        if split not in known:
            known[split] = self._extract(split)
        return known[split]

    def _extract(self, split: str) -> Features:
        images = split_images(self.data, split)
        if split == "train":
            _check_every_class(images.labels, self.data)
        with closing(self._options.loader(self._network, images, self.data)) as loader:
            return Features(*embed(self._network, loader, precision=self._options.precision))


@checking
class FeatureEvaluator(SplitEvaluator):
    """Fits something small on the features of the train images and judges it on a split.

    The network needs no class head, and the data may have classes that it has never seen: only `embed` is used.

    Args:
        split: "validation" or "test"; and the other settings of `SplitEvaluator`.
        seed: draws the images that may be learned from, and others where there are any.
        per_class: learn from so many train images of each class.
        label_fraction: learn from this share of each class.

    Raises:
        PretaskError: an unknown split, or "train", on which the probe is fitted.
    """

    name: str
    uses_features: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("top1", "balanced", "macro_f1")
    fits_train: ClassVar[bool] = True
    """Whether something is fitted on the train images, which then cannot be judged."""

    def __init__(
        self,
        split: str = "test",
        *,
        seed: Annotated[int, "draws the images that are learned from"] = 0,
        per_class: Annotated[int | None, at_least(1), "train images of each class to learn from"] = None,
        label_fraction: Annotated[float | None, _PART, "the same as a share of each class"] = None,
        **settings: Any,
    ) -> None:
        if split == "train" and self.fits_train:
            raise PretaskError(
                f"{self.name} is fitted on the train images and cannot be judged on them: give split='test'"
            )
        self.seed, self.budget = seed, Budget(per_class, label_fraction, seed)
        super().__init__(split, **settings)

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return what `judge` finds on this split of `data`.

        Raises:
            PretaskError: the data has no such split, or too few train images; features are not finite.
        """
        return self.judge(FeatureBank(classifier, self.budget.apply(data), self))

    @abstractmethod
    def judge(self, bank: FeatureBank) -> dict[str, Any]:
        """Return what a probe finds on the features that `bank` has of each split.

        That is at least "top1", "balanced", "macro_f1", "n", "train_images" and "num_features"; else the class has
        other `metrics` and another headline.
        """

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return the shares of right answers, and from how many images was learned."""
        return [*accuracy_entries(found), *size_entries(found)]

    @property
    def where(self) -> torch.device:
        """Where the probe computes."""
        return torch.device(self.device or "cpu")


def probe_metrics(scores: Tensor, judged: Features, fitted: Features) -> dict[str, Any]:
    """Return the metrics that all probes report.

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
        "balanced": metrics.balanced_accuracy(metrics.class_accuracies(scores, labels)),
        "macro_f1": metrics.macro_f1(scores, labels),
    }


def accuracy_entries(found: Mapping[str, Any]) -> Headline:
    """Return `accuracies` as entries of a headline."""
    return [
        ("top-1", found["top1"], "%"),
        ("balanced", found["balanced"], "%"),
        ("macro-F1", found["macro_f1"], "%"),
    ]


def size_entries(found: Mapping[str, Any]) -> Headline:
    """Return the numbers of images and features as entries of a headline."""
    return [("train images", found["train_images"]), ("features", found["num_features"]), ("n", found["n"])]


def _check_every_class(labels: Tensor, data: ImageData) -> None:
    counts = torch.bincount(labels, minlength=data.num_classes)
    if (counts == 0).any():
        missing = data.class_names[int((counts == 0).int().argmax())]
        raise PretaskError(
            f"class '{missing}' of {data.name} has no train image to learn from ({len(labels)} images for "
            f"{data.num_classes} classes): give at least 1 of each class"
        )
