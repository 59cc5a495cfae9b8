"""Learning rates by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from pretask.config.sections import OptimConfig
from pretask.errors import PretaskError
from pretask.training.optim import lr_schedule, make_optimizer, set_lr, training_length


def rates(total: int, **options) -> list[float]:
    rate = lr_schedule(OptimConfig(lr=1.0, **options), steps_per_epoch=10, total=total)
    return [rate(step) for step in range(total)]


def test_cosine_with_warmup_in_epochs_or_steps() -> None:
    got = rates(100, schedule="cosine", warmup_epochs=1.0)
    assert got[:10] == pytest.approx([(k + 1) / 11 for k in range(10)])
    assert got[10:] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 90)) for k in range(90)])
    assert rates(100, schedule="cosine", warmup_steps=10, warmup_epochs=5.0) == got


def test_step_schedule_is_the_papers() -> None:
    got = rates(80, schedule="step", warmup_epochs=0.0)
    assert got == pytest.approx([1.0] * 40 + [0.1] * 20 + [0.01] * 20)


def test_one_cycle_rises_for_thirty_percent() -> None:
    got = rates(100, schedule="one-cycle", warmup_epochs=0.0)
    assert max(got) == got[30] == 1.0
    assert all(a < b for a, b in pairwise(got[:31]))
    assert got[-1] < 0.001


def test_constant() -> None:
    assert rates(20, schedule="constant", warmup_epochs=0.0) == [1.0] * 20


def test_length_in_epochs_or_steps() -> None:
    assert training_length(OptimConfig(epochs=3), 10) == (3, 30)
    assert training_length(OptimConfig(epochs=3, steps=25), 10) == (3, 25)
    assert training_length(OptimConfig(epochs=3, steps=31), 10) == (4, 31)
    with pytest.raises(PretaskError, match="nothing to train"):
        training_length(OptimConfig(epochs=0), 10)


def test_optimizers() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    sgd = make_optimizer(network, OptimConfig(weight_decay=0.1))
    assert [g["weight_decay"] for g in sgd.param_groups] == [0.1]
    adamw = make_optimizer(network, OptimConfig(optimizer="adamw", weight_decay=0.1))
    decays = {g["weight_decay"]: [p.dim() for p in g["params"]] for g in adamw.param_groups}
    assert decays == {0.0: [1, 1, 1], 0.1: [2]}
    set_lr(adamw, 0.5)
    assert {g["lr"] for g in adamw.param_groups} == {0.5}
    assert isinstance(adamw, torch.optim.AdamW)


def test_lars_by_hand() -> None:
    """Weights step by 0.001·‖w‖ / (‖g‖ + wd·‖w‖) of their decayed gradient; biases by their gradient alone."""
    network = nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[3.0, 4.0]]))
        network.bias.fill_(1.0)
    lars = make_optimizer(
        network, OptimConfig(optimizer="lars", lr=2.0, weight_decay=0.1, momentum=0.9, nesterov=False)
    )
    network.weight.grad, network.bias.grad = torch.tensor([[0.0, 2.0]]), torch.tensor([0.25])
    lars.step()
    trust = 0.001 * 5 / (2 + 0.1 * 5)
    expected = torch.tensor([[3 - 2 * trust * 0.3, 4 - 2 * trust * 2.4]])
    torch.testing.assert_close(network.weight.data, expected)
    torch.testing.assert_close(network.bias.data, torch.tensor([0.5]))
