"""One step of each base, from images to loss and gradients, written out in float64.

Its loss on given embeddings is compared with the published formula in `test_bases`; here is what surrounds it: which
network makes which embedding, where gradients end, and how the moving average follows.
"""

from __future__ import annotations

import copy

import pytest
import torch
from small_objectives import images, make
from test_bases import barlow, byol, simclr, simsiam, vicreg  # the formulas, pair by pair
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.pretraining import Objective


def normal(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(value, dtype=torch.float32).double() for value in (0.3, 0.2))
    return (x - mean) / std


def apart(p: Tensor, t: Tensor) -> Tensor:
    return (p / p.norm(dim=1, keepdim=True) * (t / t.norm(dim=1, keepdim=True))).sum(1)


def statistics(name: str, a: Tensor, b: Tensor) -> Tensor:
    B, d = a.shape
    if name == "simclr":
        z = F.normalize(torch.cat((a, b)), dim=1)
        scores = (z @ z.T / 0.5).masked_fill(torch.eye(2 * B, dtype=torch.bool), -torch.inf)
        return F.cross_entropy(scores, torch.arange(2 * B).roll(B))
    if name == "barlow":
        one, other = ((z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() for z in (a, b))
        c = one.T @ other / B
        return (1 - c.diagonal()).square().sum() + 0.005 * (c - c.diagonal().diag()).square().sum()
    loss = 25 * (a - b).square().mean()
    for z in (a, b):
        loss = loss + 12.5 * (1 - (z.var(0) + 1e-4).sqrt()).relu().mean()
        covariance = torch.cov(z.T)
        loss = loss + (covariance - covariance.diagonal().diag()).square().sum() / d
    return loss


def step(name: str, it: Objective, first: Tensor, second: Tensor) -> Tensor:
    f, g, q = it.encoder.backbone, it.base.projector, it.base.predictor
    if name not in ("byol", "simsiam"):
        return statistics(name, *[g(f(normal(view))) for view in (first, second)])
    with torch.no_grad():
        if name == "byol":
            t, t_head = it.average.stages[0].backbone, it.average.stages[1]
            online = [*f.parameters(), *g.parameters()]
            for mine, theirs in zip([*t.parameters(), *t_head.parameters()], online, strict=True):
                mine.copy_(it.average.momentum * mine + (1 - it.average.momentum) * theirs)
    z1 = g(f(normal(first)))
    p1 = q(z1)
    t1 = t_head(t(normal(first))).detach() if name == "byol" else z1.detach()
    z2 = g(f(normal(second)))
    p2 = q(z2)
    t2 = t_head(t(normal(second))).detach() if name == "byol" else z2.detach()
    likeness = apart(p1, t2).mean() + apart(p2, t1).mean()
    return (4 - 2 * likeness) / 2 if name == "byol" else -likeness / 2


@pytest.mark.parametrize("name", ["byol", "simsiam", "simclr", "barlow", "vicreg"])
def test_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = make(name, tiny=True)
    second = images().flip(3)
    mine.set_progress(0.3)
    views = iter((images(), second))
    mine.augment = nn.Identity()
    monkeypatch.setattr(mine.augment, "forward", lambda _: next(views))
    theirs = copy.deepcopy(mine)
    with torch.no_grad():  # so that the moving average has somewhere to go
        for one in (mine, theirs):
            for weight in one.encoder.backbone.parameters():
                weight.mul_(1.1)
    loss, expected = mine(images())["loss"], step(name, theirs, images(), second)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-9)
    loss.backward()
    expected.backward()
    for (key, one), other in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12, msg=key)
        assert (one.grad is None) == (other.grad is None), key
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-8, msg=key)
    for one, other in zip(mine.encoder.buffers(), theirs.encoder.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_the_formulas_agree_with_those_written_pair_by_pair() -> None:
    from test_bases import embedding

    a, b = embedding(1), embedding(2)
    for formula in (simclr, barlow, vicreg):
        found = statistics(formula.__name__, a.projected, b.projected)
        assert found.item() == pytest.approx(formula(a, b), rel=1e-9)
    for formula, scale, offset in ((byol, -1.0, 2.0), (simsiam, -0.5, 0.0)):
        likeness = apart(a.predicted, b.target).mean() + apart(b.predicted, a.target).mean()
        assert (scale * likeness + offset).item() == pytest.approx(formula(a, b), rel=1e-9)
