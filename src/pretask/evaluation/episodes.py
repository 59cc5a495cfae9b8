"""How often a method that learns by episodes is right on classes it has never seen."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import torch
from torch import Tensor, nn

from pretask.data import ImageData
from pretask.data.episodes import EpisodeSize
from pretask.evaluation.few_shot import draw_episodes, mean_and_half_interval, right_of_each
from pretask.evaluation.predictions import predict
from pretask.evaluation.split import split_loader
from pretask.methods.episodic import EpisodicMethod

_BLOCK = 50


class EpisodeJudge:
    """Judges a method by episodes of a data set's classes; the same ones whatever the method.

    Args:
        data: its `train` images are drawn from.
        size: of an episode.
        episodes: how many.
        seed: of the draws.
        device: where images go through the network.

    Raises:
        PretaskError: the data has too few classes or images for an episode.
    """

    def __init__(
        self, data: ImageData, size: EpisodeSize, episodes: int, seed: int, device: torch.device
    ) -> None:
        self.data, self.size, self.device = data, size, device
        self.drawn = draw_episodes(data.train.labels, size, episodes, seed)
        self.protocol = (
            f"episodes/1: {episodes} of {size.ways} classes, {size.shots} images to learn from and {size.queries} to "
            f"judge by of each, unaugmented, seed {seed}; mean of episodes with a 95 % interval"
        )

    def __call__(self, method: EpisodicMethod, inference: str) -> dict[str, Any]:
        """Return "top1" (the mean over episodes), "half_interval", and "episodes", the accuracy of each."""
        features = self._features(method)
        accuracies: list[float] = []
        with torch.no_grad():
            for block in torch.split(self.drawn, _BLOCK):
                scores = method.answers(features[block].to(self.device), inference)
                accuracies += right_of_each(scores, self.size.ways).tolist()
        mean, half = mean_and_half_interval(accuracies)
        return {"top1": mean, "half_interval": half, "episodes": accuracies}

    def _features(self, method: EpisodicMethod) -> Tensor:
        """Return the features of all views of each image, [n, M, D]."""
        views = _Views(method)
        loader = split_loader(
            views,
            self.data.train,
            image_size=self.data.image_size,
            batch_size=max(16, 256 // method.views),
            device=self.device,
        )
        with closing(loader):
            rows = predict(views, loader).logits
        return rows.view(len(rows), method.views, -1)


class _Views(nn.Module):
    """Images → the features of their views, side by side."""

    def __init__(self, method: EpisodicMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        return self.method.encoder.views(images).reshape(len(images), -1)
