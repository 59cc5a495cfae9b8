"""What evaluators of one split share: which images, how they are read, and that the classifier fits them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from pretask.data.loader import create_loader
from pretask.errors import PretaskError
from pretask.evaluation.predictions import Precision, Predictions, predict

if TYPE_CHECKING:
    from pretask.data.images import ImageData, LabelledImages
    from pretask.data.loader import Loader

SPLITS = ("train", "validation", "test")


class SplitEvaluator(ABC):
    """An evaluator's options, and its way from a data set to predictions.

    `protocol` is made of `constants()` and the split.

    Args:
        split: "train", "validation" or "test". Images are never augmented here.
        batch_size: images in a forward pass; it changes the speed, not the figures.
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
        """Return name, version and every constant that changes a figure."""

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
                f"the classifier tells {predictions.num_classes} classes apart and the data set "
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
