"""The nearest training images: their vote as an evaluator, and as a look at embeddings while they are learned."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.data import ImageData, LabelledImages
from pretask.evaluation.base import EVALUATORS, Headline, entry_text
from pretask.evaluation.features import (
    FeatureBank,
    FeatureEvaluator,
    accuracies,
    accuracy_entries,
    probe_metrics,
    size_entries,
)
from pretask.evaluation.predictions import predict, split_loader
from pretask.options import above, at_least
from pretask.pretraining import Objective, collapse_warning, effective_rank, spread
from pretask.training.display import say

if TYPE_CHECKING:
    from rich.console import Console

K = 200
FEWER = 20
TEMPERATURE = 0.1
_BLOCK_ELEMENTS = 16_000_000


@EVALUATORS.register("knn")
class KNN(FeatureEvaluator):
    """Weighted vote of the nearest training images by cosine; frozen features, nothing to choose.

    Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018, arXiv
    1805.01978, section 3.4; they vote with the temperature 0.07.

    Args:
        split: and the other settings of `FeatureEvaluator`.
        k: how many vote.
        fewer: how many vote a second time, where that is below k.
        temperature: T of the votes exp(cosine / T).
    """

    name = "knn"

    def __init__(
        self,
        split: str = "test",
        *,
        k: Annotated[int, at_least(1), "nearest train images that vote"] = K,
        fewer: Annotated[int, at_least(1), "the same once more, where it is below k"] = FEWER,
        temperature: Annotated[float, above(0), "of the votes"] = TEMPERATURE,
        **settings: Any,
    ) -> None:
        self.counts = (k, fewer) if fewer < k else (k,)
        self.temperature = temperature
        super().__init__(split, **settings)

    def constants(self) -> str:
        counts = " and ".join(f"k={k}" for k in self.counts)
        return (
            f"knn/1: frozen features of unaugmented images, cosine similarity s, votes exp(s/{self.temperature}) of "
            f"the {counts} nearest train images (clamped to their number)"
        )

    def judge(self, bank: FeatureBank) -> dict[str, Any]:
        """Return `probe_metrics` with "k", and "fewer" with those of the smaller k, where it is one."""
        train, judged = bank["train"], bank[self.split]
        counts = tuple(min(k, len(train)) for k in self.counts)
        known = train.values.to(self.where), train.labels.to(self.where)
        most, *fewer = votes(*known, judged.values, bank.num_classes, counts, self.temperature)
        found = {**probe_metrics(most, judged, train), "k": counts[0]}
        if fewer:
            found["fewer"] = {"k": counts[1], **accuracies(fewer[0], judged.labels)}
        return found

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return the shares of right answers at both numbers of neighbours."""
        entries = [*accuracy_entries(found), ("k", found["k"])]
        if "fewer" in found:
            shares = ", ".join(entry_text(entry) for entry in accuracy_entries(found["fewer"]))
            entries.append((f"k {found['fewer']['k']}:", shares))
        return [*entries, *size_entries(found)]

    def columns(self, found: Mapping[str, Any], metric: str) -> dict[str, float]:
        """Return the metric at both numbers of neighbours."""
        fewer = found.get("fewer")
        return {"": found[metric], **({str(fewer["k"]): fewer[metric]} if fewer else {})}


def votes(
    train: Tensor,
    labels: Tensor,
    queries: Tensor,
    num_classes: int,
    counts: tuple[int, ...],
    temperature: float = TEMPERATURE,
) -> list[Tensor]:
    """Return the classes' votes `[n, N]` (CPU) for each number of neighbours.

    Args:
        train: `[m, D]`.
        labels: int64 `[m]`, where `train` is.
        queries: `[n, D]`, brought there block by block.
        num_classes: N.
        counts: numbers of neighbours, at most m.
        temperature: T of the votes exp(cosine / T).
    """
    known = F.normalize(train, dim=1).t()
    found: list[list[Tensor]] = [[] for _ in counts]
    for block in torch.split(queries, max(1, _BLOCK_ELEMENTS // len(train))):
        similarity = F.normalize(block.to(train.device), dim=1) @ known
        near, rows = similarity.topk(max(counts), dim=1)
        # The factor exp(-1/T) that all votes share keeps them within float32 for any temperature.
        weights = ((near - 1) / temperature).exp()
        for kept, k in zip(found, counts, strict=True):
            empty = weights.new_zeros(len(block), num_classes)
            kept.append(empty.scatter_add_(1, labels[rows[:, :k]], weights[:, :k]).cpu())
    return [torch.cat(kept) for kept in found]


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
        """Return {"embeddings": …}: "spread", "effective_rank", "warning", and "top1" of neighbours."""
        embeddings = self._embed(nn.Sequential(objective.encoder, objective.base.projector), self._images)
        rank, apart = effective_rank(embeddings), float(spread(embeddings))
        warning = collapse_warning(apart, rank, embeddings.shape[1], objective.collapse_cause())
        if warning:
            say(self._console, f"warning   {warning}")
        found = {"top1": self._neighbours(objective.encoder), "spread": apart, "effective_rank": rank}
        return {"embeddings": {**found, "warning": warning}}

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
