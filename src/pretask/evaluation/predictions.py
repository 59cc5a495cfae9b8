"""A classifier's answers on a split of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pretask.attacks.ascent import evaluation_mode
from pretask.data.loaders.loader import create_loader
from pretask.errors import PretaskError
from pretask.evaluation.base import Evaluator

if TYPE_CHECKING:
    from pretask.data.images.containers import ImageData, LabelledImages
    from pretask.data.loaders.batches import Batch
    from pretask.data.loaders.loader import Loader

Precision = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Predictions:
    """Logits `[n, N]` (float32, CPU) and labels `[n]` (int64, CPU), in the order of the split."""

    logits: Tensor
    labels: Tensor

    @property
    def num_classes(self) -> int:
        """How many classes the classifier distinguishes."""
        return self.logits.shape[1]


def predict(
    classifier: nn.Module,
    loader: Loader,
    *,
    precision: Precision = nullcontext,
    change: Callable[[Batch], Tensor] | None = None,
) -> Predictions:
    """Return the logits of every image of `loader`, without the filler rows (label -1).

    Where `torch.distributed` is initialised the shards of all ranks are put together, so every rank must
    call this and gets the same answer. The classifier's mode is restored. Nothing is read from the device
    before the last batch.

    Args:
        classifier: images `[B, C, H, W]` in [0, 1] to logits `[B, N]`.
        loader: an evaluation loader of this rank.
        precision: makes the context each forward pass runs in, such as an autocast.
        change: what is shown in place of a batch's images; it is called in evaluation mode, without gradients.

    Raises:
        PretaskError: there are no images, or a logit is not finite.
    """
    images = change or _images
    logits, labels = _collect(classifier, lambda batch: classifier(images(batch)), loader, precision)
    return Predictions(_checked(logits, "the classifier", "logits"), labels)


def embed(network: nn.Module, loader: Loader, *, precision: Precision = nullcontext) -> tuple[Tensor, Tensor]:
    """Return the features `[n, D]` and labels `[n]` of every image of `loader`; see `predict`.

    Args:
        network: a classifier or an encoder: its `embed` maps images `[B, C, H, W]` in [0, 1] to `[B, D]`.
        loader: an evaluation loader of this rank.
        precision: makes the context each forward pass runs in.

    Raises:
        PretaskError: there are no images, or a feature is not finite.
    """
    to_features = cast(Callable[[Tensor], Tensor], network.embed)
    features, labels = _collect(network, lambda batch: to_features(batch.images), loader, precision)
    return _checked(features, "the backbone", "features"), labels


def _images(batch: Batch) -> Tensor:
    return batch.images


def _collect(
    network: nn.Module, answer: Callable[[Batch], Tensor], loader: Loader, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Return what `answer`, a way to call `network`, gives for each image of all ranks, and the labels."""
    rows = []
    # Not `inference_mode`: a buffer that a module caches on its way would be unusable in training.
    with evaluation_mode(network), torch.no_grad():
        for batch in loader.epoch(0):
            with precision():
                answers = answer(batch)
            rows.append((answers.float(), batch.labels, batch.index))
    if not rows:
        raise _no_images()
    answers, labels, index = (_gathered(torch.cat(column)).cpu() for column in zip(*rows, strict=True))
    real = labels >= 0
    order = index[real].argsort(stable=True)
    if not len(order):
        raise _no_images()
    return answers[real][order], labels[real][order]


def _gathered(shard: Tensor) -> Tensor:
    if not (dist.is_available() and dist.is_initialized()):
        return shard
    shards = [torch.empty_like(shard) for _ in range(dist.get_world_size())]
    dist.all_gather(shards, shard.contiguous())
    return torch.cat(shards)


def _checked(answers: Tensor, who: str, what: str) -> Tensor:
    bad = ~answers.isfinite().all(1)
    if bad.any():
        raise PretaskError(
            f"{who} gave NaN or infinite {what} for {int(bad.sum())} of {len(bad)} images: "
            "evaluate an earlier checkpoint, or train again with a lower learning rate"
        )
    return answers


def _no_images() -> PretaskError:
    return PretaskError("there are no images to evaluate: give a split with at least 1 image")


SPLITS = ("train", "validation", "test")


class SplitEvaluator(Evaluator, ABC):
    """An evaluator's settings, and its way from a data set to predictions.

    `protocol` is made of `constants()` and the split.

    Args:
        split: "train", "validation" or "test". Images are never augmented here.
        batch_size: images in a forward pass; it changes the speed, not the findings.
        device: where to run; the classifier's own when `None`.
        channels_last: memory format of the images.
        precision: makes the context of each forward pass, such as an autocast.
        workers: decoding processes, where images are streamed.

    Raises:
        PretaskError: `split` is none of the three.
    """

    def __init__(
        self,
        split: str = "test",
        *,
        batch_size: int = 256,
        device: torch.device | str | None = None,
        channels_last: bool = False,
        precision: Precision = nullcontext,
        workers: int = 4,
    ) -> None:
        if split not in SPLITS:
            raise PretaskError(f"unknown split '{split}' (known: {', '.join(SPLITS)}): give split='test'")
        self.split = split
        self.batch_size = batch_size
        self.device = device
        self.channels_last = channels_last
        self.precision = precision
        self.workers = workers
        self.protocol = f"{self.constants()}, split={split}"

    @abstractmethod
    def constants(self) -> str:
        """Return name, version and every constant that changes a number."""

    def images(self, data: ImageData) -> LabelledImages:
        """Return this split of `data`.

        Raises:
            PretaskError: the data has no such split.
        """
        return split_images(data, self.split)

    def loader(self, classifier: nn.Module, images: LabelledImages, data: ImageData) -> Loader:
        """Return this rank's evaluation loader of some of the images of `data`."""
        return split_loader(
            classifier,
            images,
            image_size=data.image_size,
            batch_size=self.batch_size,
            device=self.device,
            channels_last=self.channels_last,
            workers=self.workers,
        )

    def predictions(self, classifier: nn.Module, data: ImageData) -> Predictions:
        """Return the classifier's logits of every image of this split.

        Raises:
            PretaskError: the data has no such split, the classifier has another number of classes, or it
                gives logits that are not finite.
        """
        with closing(self.loader(classifier, self.images(data), data)) as loader:
            predictions = predict(classifier, loader, precision=self.precision)
        if predictions.num_classes != data.num_classes:
            raise PretaskError(
                f"the classifier distinguishes {predictions.num_classes} classes and the data set "
                f"'{data.name}' has {data.num_classes}: give the data it was trained on"
            )
        return predictions


def split_images(data: ImageData, split: str) -> LabelledImages:
    """Return a split of `data`.

    Raises:
        PretaskError: the data has no such split.
    """
    images: LabelledImages | None = getattr(data, split)
    if images is None:
        there = [name for name in SPLITS if getattr(data, name) is not None]
        raise PretaskError(
            f"the data set '{data.name}' has no {split} split (it has: {', '.join(there)}): "
            f"give split='{there[-1]}' or data with one"
        )
    return images


def split_loader(
    classifier: nn.Module, split: LabelledImages, *, device: torch.device | str | None, **options: Any
) -> Loader:
    """Return an evaluation loader of this rank, on `device` or where the classifier is."""
    spread = dist.is_available() and dist.is_initialized()
    return create_loader(
        split,
        train=False,
        device=torch.device(device) if device is not None else _device_of(classifier),
        rank=dist.get_rank() if spread else 0,
        world_size=dist.get_world_size() if spread else 1,
        **options,
    )


def _device_of(classifier: nn.Module) -> torch.device:
    parameter = next(classifier.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
