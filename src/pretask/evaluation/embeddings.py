"""A look at embeddings while they are learned: are images still told apart, do neighbours share a class?"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from pretask.data import ImageData, LabelledImages
from pretask.evaluation.knn import FEWER, votes
from pretask.evaluation.predictions import predict, split_loader
from pretask.pretraining import Objective, collapse_warning, effective_rank, spread
from pretask.training.display import say

WATCHED_IMAGES = 2000
"""Of the training set at most, drawn once."""


class EmbeddingWatch:
    """Looks at an objective's embeddings of untransformed images, and warns where they collapse.

    Args:
        data: of whose training images at most `WATCHED_IMAGES` are embedded.
        device: where.
        seed: draws the images.
        console: for warnings.
    """

    def __init__(self, data: ImageData, device: torch.device, seed: int, console: Console | None) -> None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randperm(len(data.train), generator=generator)[:WATCHED_IMAGES].sort().values
        self._data, self._images = data, data.train.subset(drawn)
        self._device, self._console = device, console

    def __call__(self, objective: Objective) -> dict[str, dict[str, Any]]:
        """Return {"embeddings": figures}: "spread", "effective_rank", "warning", and "top1" of neighbours."""
        embeddings = self._embed(nn.Sequential(objective.encoder, objective.base.projector), self._images)
        rank, apart = effective_rank(embeddings), float(spread(embeddings))
        warning = collapse_warning(apart, rank, embeddings.shape[1], objective.collapse_cause())
        if warning:
            say(self._console, f"warning   {warning}")
        figures = {"top1": self._neighbours(objective.encoder), "spread": apart, "effective_rank": rank}
        return {"embeddings": {**figures, "warning": warning}}

    def _neighbours(self, encoder: nn.Module) -> float | None:
        """Return the accuracy of the nearest training images on the validation images, where there are labels."""
        data = self._data
        if data.validation is None or data.num_classes < 2:
            return None
        train, labels = self._embed(encoder, self._images), self._images.labels
        counts = (min(FEWER, len(train)),)
        (answers,) = votes(train, labels, self._embed(encoder, data.validation), data.num_classes, counts)
        return float((answers.argmax(1) == data.validation.labels).float().mean())

    def _embed(self, network: nn.Module, images: LabelledImages) -> Tensor:
        loader = split_loader(
            network, images, image_size=self._data.image_size, batch_size=256, device=self._device
        )
        with closing(loader):
            return predict(network, loader).logits
