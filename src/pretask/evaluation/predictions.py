"""Runs a classifier over a loader and keeps its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pretask.errors import PretaskError

if TYPE_CHECKING:
    from pretask.data.loader import Loader

Precision = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Predictions:
    """Logits `[n, N]` (float32, CPU) and labels `[n]` (int64, CPU), in the order of the split."""

    logits: Tensor
    labels: Tensor

    @property
    def num_classes(self) -> int:
        """How many classes the classifier tells apart."""
        return self.logits.shape[1]


def predict(classifier: nn.Module, loader: Loader, *, precision: Precision = nullcontext) -> Predictions:
    """Return the logits of every image of `loader`, without the filler rows (label -1).

    Where `torch.distributed` is initialised the shards of all ranks are put together, so every rank must
    call this and gets the same answer. The classifier's mode is restored. Nothing is read from the device
    before the last batch.

    Args:
        classifier: images `[B, C, H, W]` in [0, 1] to logits `[B, N]`.
        loader: an evaluation loader of this rank.
        precision: makes the context each forward pass runs in, such as an autocast.

    Raises:
        PretaskError: there are no images, or a logit is not finite.
    """
    with _judging(classifier):
        rows = [_forward(classifier, batch, precision) for batch in loader.epoch(0)]
    if not rows:
        raise PretaskError("there are no images to evaluate: give a split with at least one image")
    logits, labels, index = (_gathered(torch.cat(column)).cpu() for column in zip(*rows, strict=True))
    real = labels >= 0
    order = index[real].argsort(stable=True)
    return _checked(Predictions(logits[real][order], labels[real][order]))


def _forward(classifier: nn.Module, batch: Any, precision: Precision) -> tuple[Tensor, Tensor, Tensor]:
    with precision():
        logits = classifier(batch.images)
    return logits.float(), batch.labels, batch.index


@contextmanager
def _judging(classifier: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each module gets its own mode back, so frozen parts stay frozen."""
    modes = [(module, module.training) for module in classifier.modules()]
    classifier.eval()
    try:
        # Not `inference_mode`: a buffer that a module caches on its way would be unusable in training.
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _gathered(shard: Tensor) -> Tensor:
    if not (dist.is_available() and dist.is_initialized()):
        return shard
    shards = [torch.empty_like(shard) for _ in range(dist.get_world_size())]
    dist.all_gather(shards, shard.contiguous())
    return torch.cat(shards)


def _checked(predictions: Predictions) -> Predictions:
    bad = ~predictions.logits.isfinite().all(1)
    if bad.any():
        raise PretaskError(
            f"the network put out NaN or infinite values for {int(bad.sum())} of {len(bad)} images: "
            "evaluate an earlier checkpoint, or train again with a lower learning rate"
        )
    if not len(bad):
        raise PretaskError("there are no images to evaluate: give a split with at least one image")
    return predictions
