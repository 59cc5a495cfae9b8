"""Episodes of a few classes: on frozen features, and of a method trained by episodes."""

from __future__ import annotations

import math
from contextlib import closing
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.data import ImageData
from pretask.data.loaders.schedule import EpisodeSize, draw_episode, rows_by_class
from pretask.evaluation.base import EVALUATORS
from pretask.evaluation.features import FeatureBank, FeatureEvaluator
from pretask.evaluation.predictions import predict, split_loader
from pretask.methods.episodic import EpisodicMethod, nearest_mean, ridge_scores
from pretask.statistics import mean_std

WAYS = 5
SHOTS = (1, 5)
QUERIES = 15
EPISODES = 600
PENALTY = 1.0
_LARGE_SAMPLE = 1.959964
_BLOCK = 100


@EVALUATORS.register("few-shot")
class FewShot(FeatureEvaluator):
    """5-way episodes with 1 and 5 images per class, answered by prototypes and by ridge regression.

    Prototypes are class means (Snell et al., NeurIPS 2017, arXiv 1703.05175), ridge regression is in closed form
    (Bertinetto et al., ICLR 2019, arXiv 1805.08136); features are centred by the train images' mean and normalised
    (Wang et al., arXiv 1911.04623). The episodes depend on the labels and the seed alone, so that two networks see
    the same ones. Options are those of `FeatureEvaluator`; nothing is fitted on the train images, so `split="train"`
    is allowed.
    """

    name = "few-shot"
    fits_train: ClassVar[bool] = False

    def constants(self) -> str:
        shots = " and ".join(map(str, SHOTS))
        return (
            f"few-shot/1: frozen features of unaugmented images, less the train images' mean, normalised; {EPISODES} "
            f"episodes of {WAYS} classes, {shots} images to learn from and {QUERIES} to judge by (or as many as "
            f"{WAYS} classes have) of each; nearest class mean, and ridge regression of one-hot labels with penalty "
            f"{PENALTY:g}; mean of episodes with a 95 % interval, seed {self.seed}"
        )

    def judge(self, bank: FeatureBank) -> dict[str, Any]:
        """Return "tasks": for each number of shots and head the mean accuracy, its half-interval, and the sizes.

        Raises:
            PretaskError: fewer classes than ways, or too few images of them.
        """
        judged = bank[self.split]
        values = F.normalize(judged.values - bank["train"].values.mean(0), dim=1)
        tasks = []
        for shots in SHOTS:
            size = EpisodeSize(WAYS, shots, _queries(judged.labels, shots))
            drawn = draw_episodes(judged.labels, size, EPISODES, self.seed)
            for head, answer in (("prototypes", nearest_mean), ("ridge", ridge)):
                mean, half = mean_and_half_interval(_accuracies(values, drawn, shots, answer))
                figures = {"accuracy": mean, "half_interval": half, "queries": size.queries}
                tasks.append({"shots": shots, "head": head, **figures})
        return {"ways": WAYS, "episodes": EPISODES, "tasks": tasks, "num_features": values.shape[1]}


def draw_episodes(labels: Tensor, size: EpisodeSize, episodes: int, seed: int) -> Tensor:
    """Return the images of each episode, int64 [E, ways, shots + queries].

    Raises:
        PretaskError: see `rows_by_class`.
    """
    draws, rows = torch.Generator().manual_seed(seed), rows_by_class(labels, size)
    return torch.stack([draw_episode(rows, size, draws) for _ in range(episodes)])


def ridge(support: Tensor, queries: Tensor) -> Tensor:
    """Return ridge regression's scores of one-hot labels less 1/N, which need no intercept; see `nearest_mean`."""
    ways = support.shape[1]
    return ridge_scores(support, queries, torch.eye(ways) - 1 / ways, PENALTY)


def mean_and_half_interval(accuracies: list[float]) -> tuple[float, float]:
    """Return the mean over episodes and half of its 95 % interval, by the normal distribution."""
    mean, spread = mean_std(accuracies)
    return mean, _LARGE_SAMPLE * (spread or 0.0) / math.sqrt(len(accuracies))


def right_of_each(scores: Tensor, ways: int) -> Tensor:
    """Return the accuracy of each episode, float64 [E], of scores [E, Q, N] of queries that come class by class."""
    labels = torch.arange(ways, device=scores.device).repeat_interleave(scores.shape[1] // ways)
    return (scores.argmax(2) == labels).double().mean(1)


def _accuracies(values: Tensor, drawn: Tensor, shots: int, answer: Any) -> list[float]:
    """Return the accuracy of each episode."""
    found: list[Tensor] = []
    for block in torch.split(drawn, _BLOCK):
        episode = values[block]
        scores = answer(episode[:, :, :shots], episode[:, :, shots:].flatten(1, 2))
        found.append(right_of_each(scores, episode.shape[1]))
    accuracies: list[float] = torch.cat(found).tolist()
    return accuracies


def _queries(labels: Tensor, shots: int) -> int:
    """Return how many images `WAYS` classes have beside those to learn from, at most `QUERIES`."""
    counts = torch.bincount(labels).sort(descending=True).values
    if len(counts) < WAYS:
        return QUERIES
    return max(1, min(QUERIES, int(counts[WAYS - 1]) - shots))


_EPISODES_AT_ONCE = 50


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
            for block in torch.split(self.drawn, _EPISODES_AT_ONCE):
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
