"""Episodes of a few classes: on frozen features, and of a method trained by episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.data import ImageData
from pretask.data.loaders.schedule import EpisodeSize, draw_episode, rows_by_class
from pretask.evaluation.base import EVALUATORS, Headline
from pretask.evaluation.features import FeatureBank, FeatureEvaluator
from pretask.evaluation.predictions import predict, split_loader
from pretask.methods.episodic import EpisodicMethod, nearest_mean, ridge_scores
from pretask.options import above, at_least
from pretask.statistics import mean_std

Head = Literal["prototypes", "ridge"]
PENALTY = 1.0
_LARGE_SAMPLE = 1.959964
_BLOCK = 100


@EVALUATORS.register("few-shot")
class FewShot(FeatureEvaluator):
    """Episodes of a few classes with a few images of each, answered by prototypes and by ridge regression.

    Prototypes are class means (Snell et al., NeurIPS 2017, arXiv 1703.05175), ridge regression is in closed form
    (Bertinetto et al., ICLR 2019, arXiv 1805.08136); features are centred by the train images' mean and normalised
    (Wang et al., arXiv 1911.04623). The episodes depend on the labels and the seed alone, so that two networks see
    the same ones. Nothing is fitted on the train images, so `split="train"` is allowed.

    Args:
        split: and the other settings of `FeatureEvaluator`.
        ways: classes of an episode.
        shots: images of each class to learn from; several numbers are asked one after the other.
        queries: images of each class to judge by, or as many as that many classes have.
        episodes: how many.
        heads: what answers.
        penalty: of ridge regression.
    """

    name = "few-shot"
    metrics: ClassVar[tuple[str, ...]] = ()
    fits_train: ClassVar[bool] = False

    def __init__(
        self,
        split: str = "test",
        *,
        ways: Annotated[int, at_least(2), "classes of an episode"] = 5,
        shots: Annotated[tuple[int, ...], at_least(1), "images of each class to learn from"] = (1, 5),
        queries: Annotated[int, at_least(1), "images of each class to judge by, at most"] = 15,
        episodes: Annotated[int, at_least(1), "how many"] = 600,
        heads: Annotated[tuple[Head, ...], "what answers"] = ("prototypes", "ridge"),
        penalty: Annotated[float, above(0), "of ridge regression"] = PENALTY,
        **settings: Any,
    ) -> None:
        self.ways, self.shots, self.queries, self.episodes = ways, shots, queries, episodes
        self.penalty = penalty
        answers: dict[Head, Callable[[Tensor, Tensor], Tensor]] = {
            "prototypes": nearest_mean,
            "ridge": partial(ridge, penalty=penalty),
        }
        self.heads = {head: answers[head] for head in heads}
        super().__init__(split, **settings)

    def constants(self) -> str:
        words = {
            "prototypes": "nearest class mean",
            "ridge": f"ridge regression of one-hot labels with penalty {self.penalty:g}",
        }
        return (
            "few-shot/1: frozen features of unaugmented images, less the train images' mean, normalised; "
            f"{self.episodes} episodes of {self.ways} classes, {' and '.join(map(str, self.shots))} images to learn "
            f"from and {self.queries} to judge by (or as many as {self.ways} classes have) of each; "
            f"{', and '.join(words[head] for head in self.heads)}; mean of episodes with a 95 % interval, "
            f"seed {self.seed}"
        )

    def judge(self, bank: FeatureBank) -> dict[str, Any]:
        """Return "tasks": for each number of shots and head the mean accuracy, its half-interval, and the sizes.

        Raises:
            PretaskError: fewer classes than ways, or too few images of them.
        """
        judged = bank[self.split]
        values = F.normalize(judged.values - bank["train"].values.mean(0), dim=1)
        tasks = []
        for shots in self.shots:
            size = EpisodeSize(self.ways, shots, self._queries(judged.labels, shots))
            drawn = draw_episodes(judged.labels, size, self.episodes, self.seed)
            for head, answer in self.heads.items():
                mean, half = mean_and_half_interval(_accuracies(values, drawn, shots, answer))
                found = {"accuracy": mean, "half_interval": half, "queries": size.queries}
                tasks.append({"shots": shots, "head": head, **found})
        return {"ways": self.ways, "episodes": self.episodes, "tasks": tasks, "num_features": values.shape[1]}

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return the mean accuracy of each number of shots and head, with its interval."""
        tasks = (
            (
                f"{task['shots']}-shot {task['head']}",
                f"{100 * task['accuracy']:.2f} ± {100 * task['half_interval']:.2f} %",
            )
            for task in found["tasks"]
        )
        return [("ways", found["ways"]), *tasks, ("episodes", found["episodes"])]

    def _queries(self, labels: Tensor, shots: int) -> int:
        """Return how many images that many classes have beside those to learn from, at most what was asked for."""
        counts = torch.bincount(labels).sort(descending=True).values
        if len(counts) < self.ways:
            return self.queries
        return max(1, min(self.queries, int(counts[self.ways - 1]) - shots))


def draw_episodes(labels: Tensor, size: EpisodeSize, episodes: int, seed: int) -> Tensor:
    """Return the images of each episode, int64 [E, ways, shots + queries].

    Raises:
        PretaskError: see `rows_by_class`.
    """
    draws, rows = torch.Generator().manual_seed(seed), rows_by_class(labels, size)
    return torch.stack([draw_episode(rows, size, draws) for _ in range(episodes)])


def ridge(support: Tensor, queries: Tensor, penalty: float = PENALTY) -> Tensor:
    """Return ridge regression's scores of one-hot labels less 1/N, which need no intercept; see `nearest_mean`."""
    ways = support.shape[1]
    return ridge_scores(support, queries, torch.eye(ways) - 1 / ways, penalty)


def mean_and_half_interval(accuracies: list[float]) -> tuple[float, float]:
    """Return the mean over episodes and half of its 95 % interval, by the normal distribution."""
    mean, spread = mean_std(accuracies)
    return mean, _LARGE_SAMPLE * (spread or 0.0) / math.sqrt(len(accuracies))


def right_of_each(scores: Tensor, ways: int) -> Tensor:
    """Return the accuracy of each episode, float64 [E], of scores [E, Q, N] of queries that come class by class."""
    labels = torch.arange(ways, device=scores.device).repeat_interleave(scores.shape[1] // ways)
    return (scores.argmax(2) == labels).double().mean(1)


def _accuracies(
    values: Tensor, drawn: Tensor, shots: int, answer: Callable[[Tensor, Tensor], Tensor]
) -> list[float]:
    """Return the accuracy of each episode."""
    found: list[Tensor] = []
    for block in torch.split(drawn, _BLOCK):
        episode = values[block]
        scores = answer(episode[:, :, :shots], episode[:, :, shots:].flatten(1, 2))
        found.append(right_of_each(scores, episode.shape[1]))
    accuracies: list[float] = torch.cat(found).tolist()
    return accuracies


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
