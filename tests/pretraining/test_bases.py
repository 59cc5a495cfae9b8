"""Each base's loss against its published formula, written out on embeddings made by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from small_objectives import images, make
from torch import nn

from pretask.pretraining.bases import create_base
from pretask.pretraining.embedding import Embedding
from pretask.pretraining.objective import MovingAverage

B, D = 5, 4


def embedding(seed: int) -> Embedding:
    generator = torch.Generator().manual_seed(seed)
    z, q, t = (torch.randn(B, D, generator=generator, dtype=torch.float64) for _ in range(3))
    return Embedding(z, z, q, t)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def byol(a: Embedding, b: Embedding) -> float:
    both = sum(2 - 2 * cosine(a.predicted[i], b.target[i]) for i in range(B))
    both += sum(2 - 2 * cosine(b.predicted[i], a.target[i]) for i in range(B))
    return both / B / 2


def simsiam(a: Embedding, b: Embedding) -> float:
    both = sum(-cosine(a.predicted[i], b.target[i]) - cosine(b.predicted[i], a.target[i]) for i in range(B))
    return both / B / 2


def simclr(a: Embedding, b: Embedding) -> float:
    z = [*a.projected, *b.projected]
    total = 0.0
    for i in range(2 * B):
        other = (i + B) % (2 * B)
        scores = {k: math.exp(cosine(z[i], z[k]) / 0.5) for k in range(2 * B) if k != i}
        total -= math.log(scores[other] / sum(scores.values()))
    return total / (2 * B)


def barlow(a: Embedding, b: Embedding) -> float:
    def standardised(z: torch.Tensor) -> torch.Tensor:
        return (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()

    za, zb = standardised(a.projected), standardised(b.projected)
    total = 0.0
    for i in range(D):
        for j in range(D):
            c = float((za[:, i] * zb[:, j]).mean())
            total += (1 - c) ** 2 if i == j else 0.005 * c**2
    return total


def vicreg(a: Embedding, b: Embedding) -> float:
    za, zb = a.projected, b.projected
    invariance = float((za - zb).square().sum(1).mean()) / D  # the published code's mean over features too
    variance = covariance = 0.0
    for z in (za, zb):
        variance += sum(max(0.0, 1 - math.sqrt(float(z[:, j].var()) + 1e-4)) for j in range(D)) / D / 2
        centred = z - z.mean(0)
        for i in range(D):
            for j in range(D):
                if i != j:
                    covariance += float((centred[:, i] * centred[:, j]).sum() / (B - 1)) ** 2 / D
    return 25 * invariance + 25 * variance + covariance


@pytest.mark.parametrize("formula", [byol, simsiam, simclr, barlow, vicreg], ids=lambda f: f.__name__)
def test_the_loss_is_the_published_formula(formula) -> None:
    base = create_base(formula.__name__, num_features=6, hidden_size=8, embedding_size=D)
    a, b = embedding(1), embedding(2)
    assert base.pair(a, b).item() == pytest.approx(formula(a, b), rel=1e-5)
    assert base.pair(b, a).item() == pytest.approx(formula(a, b), rel=1e-5)


def test_only_bases_that_predict_have_a_predictor() -> None:
    for name, predicts in (
        ("byol", True),
        ("simsiam", True),
        ("simclr", False),
        ("barlow", False),
        ("vicreg", False),
    ):
        base = create_base(name, 6, hidden_size=8, embedding_size=D)
        assert base.predicts is predicts is (not isinstance(base.predictor, nn.Identity)), name
    robbed = create_base("byol:predictor=no", 6, hidden_size=8, embedding_size=D)
    assert isinstance(robbed.predictor, nn.Identity)


def test_a_base_alone_is_its_loss_of_two_views() -> None:
    objective = make("simsiam")
    x1, x2 = images(), images().flip(3)
    parts, _ = objective.objective(x1, x2)
    one, other = objective.embed(x1), objective.embed(x2)
    torch.testing.assert_close(parts["loss"], objective.base.pair(one, other))
    assert torch.equal(one.target, one.projected)


def test_the_average_follows_and_its_momentum_rises() -> None:
    online = nn.Linear(2, 2)
    average = MovingAverage((online,), start=0.9)
    before = copy.deepcopy(average.stages[0].weight)
    with torch.no_grad():
        online.weight.add_(1.0)
    average.follow((online,))
    torch.testing.assert_close(average.stages[0].weight, 0.9 * before + 0.1 * online.weight)
    for fraction, expected in ((0.0, 0.9), (0.5, 0.95), (1.0, 1.0)):
        average.set_progress(fraction)
        assert average.momentum.item() == pytest.approx(expected)
    held = copy.deepcopy(average.stages[0].weight)
    average.follow((online,))
    assert torch.equal(average.stages[0].weight, held)


def test_the_average_follows_in_training_only() -> None:
    objective = make("byol", target_momentum=0.5)
    with torch.no_grad():
        for weight in objective.encoder.parameters():
            weight.add_(1.0)
    before = [p.clone() for p in objective.average.parameters()]
    objective.eval()(images())
    assert all(torch.equal(a, b) for a, b in zip(before, objective.average.parameters(), strict=True))
    objective.train()(images())
    assert not all(torch.equal(a, b) for a, b in zip(before, objective.average.parameters(), strict=True))


def test_labels_are_never_read() -> None:
    class Poison:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError("labels were read")

    for name in ("trimix", "byol", "i-mix", "un-mix"):
        assert make(name)(images(), Poison())["loss"].isfinite()
