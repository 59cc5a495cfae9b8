"""A linear classifier on frozen features."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretask.evaluation.base import EVALUATORS
from pretask.evaluation.features import FeatureEvaluator, Features, Scale, figures

if TYPE_CHECKING:
    from pretask.data.images import ImageData

LEARNING_RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
WEIGHT_DECAYS = (0.0, 1e-4, 1e-3, 1e-2)
MOMENTUM = 0.9
BATCH = 1024
EPOCHS = 30
FEWEST_STEPS = 300


@EVALUATORS.register("linear")
class LinearProbe(FeatureEvaluator):
    """Logistic regression on standardised features; its learning rate and weight decay are chosen on validation.

    All members of the grid are trained at once. Options are those of `SplitEvaluator`.
    """

    name = "linear"

    def constants(self) -> str:
        rates, decays = (", ".join(f"{v:g}" for v in values) for values in (LEARNING_RATES, WEIGHT_DECAYS))
        return (
            f"linear/1: standardised features, SGD momentum {MOMENTUM:g} cosine, {EPOCHS} epochs of batches of "
            f"{BATCH} and at least {FEWEST_STEPS} steps, lr of {rates}, weight decay of {decays}, chosen on validation"
        )

    def judge(self, network: nn.Module, data: ImageData, train: Features, judged: Features) -> dict[str, Any]:
        """Return the figures of the member chosen, with its "lr" and "weight_decay"; see `FeatureEvaluator.judge`."""
        fitted, choosing, chosen_on = self.choosing(network, data, train)
        scale = Scale.of(fitted.values)
        grid = list(product(LEARNING_RATES, WEIGHT_DECAYS))
        weights, biases = train_grid(scale(fitted.values), fitted.labels, data.num_classes, grid)
        logits = torch.einsum("nd,gdc->gnc", scale(choosing.values), weights) + biases[:, None]
        best = int((logits.argmax(2) == choosing.labels).float().mean(1).argmax())
        scores = scale(judged.values) @ weights[best] + biases[best]
        return {
            **figures(scores, judged, len(fitted)),
            "lr": grid[best][0],
            "weight_decay": grid[best][1],
            "chosen_on": chosen_on,
        }


def train_grid(
    values: Tensor, labels: Tensor, num_classes: int, grid: list[tuple[float, float]], seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Train one softmax regression for each (learning rate, weight decay), all in one pass over the data.

    Minimises the mean cross-entropy + weight_decay/2·‖W‖² from W = 0; biases are not decayed.

    Args:
        values: features [n, D].
        labels: int64 [n].
        num_classes: N.
        grid: of G members.
        seed: of the order of images.

    Returns:
        weights [G, D, N] and biases [G, N].
    """
    count, size = values.shape
    batch = min(BATCH, count)
    steps = max(FEWEST_STEPS, EPOCHS * math.ceil(count / batch))
    rates, decays = (torch.tensor(column)[:, None, None] for column in zip(*grid, strict=True))
    weights = torch.zeros(len(grid), size + 1, num_classes)
    decays = decays * torch.ones(size + 1, 1).index_fill(0, torch.tensor(size), 0.0)
    speed = torch.zeros_like(weights)
    rows = torch.cat((values, torch.ones(count, 1)), dim=1)
    targets = F.one_hot(labels, num_classes).float()
    for step, chosen in enumerate(_batches(count, batch, steps, seed)):
        x, y = rows[chosen], targets[chosen]
        # One product for the whole grid: [b, D+1] x [D+1, G·N].
        flat = weights.transpose(0, 1).reshape(size + 1, -1)
        logits = (x @ flat).view(len(x), len(grid), num_classes)
        excess = (logits.softmax(2) - y[:, None]).reshape(len(x), -1) / len(x)
        gradient = (x.T @ excess).view(size + 1, len(grid), num_classes).transpose(0, 1)
        speed.mul_(MOMENTUM).add_(gradient + decays * weights)
        weights.sub_(rates * (0.5 * (1 + math.cos(math.pi * step / steps))) * speed)
    return weights[:, :-1], weights[:, -1]


def _batches(count: int, batch: int, steps: int, seed: int) -> list[Tensor]:
    """Return the rows of each step: epochs of whole batches, each in a new order."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = count // batch
    epochs = math.ceil(steps / per_epoch)
    orders = (torch.randperm(count, generator=generator)[: per_epoch * batch] for _ in range(epochs))
    return [rows for order in orders for rows in torch.split(order, batch)][:steps]
