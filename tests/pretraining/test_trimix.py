"""The algebra behind TriMix, on the functions that train it."""

from __future__ import annotations

import pytest
import torch
from small_objectives import images, make
from torch import nn

from pretask.errors import PretaskError
from pretask.pretraining import create_objective, trimix
from pretask.pretraining.embedding import Embedding, distance
from pretask.pretraining.mixing import Shares, draw_shares, weighted_extraction
from pretask.pretraining.trimix import consistency_loss, partners

B, D = 6, 5


def rows(seed: int) -> torch.Tensor:
    return torch.randn(B, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shares(value: float | torch.Tensor = 0.7) -> Shares:
    share = torch.as_tensor(value, dtype=torch.float64).expand(B)[:, None]
    return Shares(share, torch.tensor([3, 0, 5, 1, 2, 4]))


def test_extraction_is_the_formula_row_by_row() -> None:
    predicted, t = rows(0), rows(1)
    mix = shares(torch.linspace(0.5, 1, B))
    total = 0.0
    for i in range(B):
        j, share = int(mix.order[i]), float(mix.share[i])
        for weight, target in ((share, t[i]), (1 - share, t[j])):
            cosine = float(predicted[i] @ target / predicted[i].norm() / target.norm())
            total += weight * (2 - 2 * cosine) / B
    assert weighted_extraction(predicted, (t, t[mix.order]), mix).item() == pytest.approx(total)


def test_extraction_pulls_as_the_mixed_target_does() -> None:
    """With normalised rows and targets without gradient both losses differ by a constant only."""
    t, mix = rows(1), shares()
    unit = nn.functional.normalize(t, dim=1)
    mixed = mix.blend_partners(unit)
    gradients = []
    for loss in (
        lambda u: weighted_extraction(u, (t, t[mix.order]), mix),
        lambda u: (-2 * (nn.functional.normalize(u, dim=1) * mixed).sum(1)).mean(),
    ):
        predicted = rows(0).requires_grad_()
        loss(predicted).backward()
        gradients.append(predicted.grad)
    torch.testing.assert_close(*gradients)


def test_squared_extraction_without_stop_gradient_pulls_different_images_together() -> None:
    """λ‖u−a‖² + (1−λ)‖u−b‖² = ‖u−m‖² + λ(1−λ)‖a−b‖²: the last term is what stop-gradient removes."""
    u, a, b, share = rows(0), rows(1), rows(2), 0.7
    left = share * (u - a).square() + (1 - share) * (u - b).square()
    mixed = Shares(torch.full((B, 1), share, dtype=torch.float64), torch.arange(B)).blend(a, b)
    torch.testing.assert_close(left, (u - mixed).square() + share * (1 - share) * (a - b).square())


def test_share_one_gives_the_positive_term_of_the_base() -> None:
    objective = make("trimix")
    one, other = objective.embed(images()), objective.embed(images().flip(3))
    whole = Shares(torch.ones(8, 1, dtype=torch.float64), torch.arange(8).roll(3))
    extraction = weighted_extraction(one.predicted, (other.target, other.target[whole.order]), whole)
    torch.testing.assert_close(extraction, objective.base.toward(one, other))


@pytest.mark.parametrize("kind", ["squared", "cosine", "correlation"])
def test_mixing_after_the_projector_leaves_nothing_to_be_consistent_with(kind: str) -> None:
    t, mix = rows(1), shares(torch.linspace(0.5, 1, B))
    virtual = mix.blend_partners(t)
    assert consistency_loss(virtual, (t, t[mix.order]), mix, kind).item() < 1e-7
    assert consistency_loss(rows(4), (t, t[mix.order]), mix, kind).item() > 0.1


def test_unmixing_by_algebra_is_consistency_by_the_square_of_the_share() -> None:
    """With a = (zv − (1−λ)·b)/λ the error of a is that of the mixture divided by λ."""
    virtual, a, mix = rows(0), rows(1), shares()
    found = (virtual - 0.3 * a[mix.order]) / 0.7
    deviation = (a.var(0, correction=0) + 1e-5).sqrt()
    unmixed = ((found - a) / deviation).square().mean()
    squared = consistency_loss(virtual, (a, a[mix.order]), mix, "squared")
    torch.testing.assert_close(unmixed, squared / 0.7**2)


def test_consistency_is_standardised_with_the_statistics_of_the_targets() -> None:
    t, virtual, mix = rows(1), rows(0), shares()
    mean, deviation = t.mean(0), (t.var(0, correction=0) + 1e-5).sqrt()
    total = 0.0
    for i in range(B):
        mixture = 0.7 * t[i] + 0.3 * t[mix.order[i]]
        total += float((((virtual[i] - mean) / deviation - (mixture - mean) / deviation) ** 2).sum()) / (
            B * D
        )
    assert consistency_loss(virtual, (t, t[mix.order]), mix, "squared").item() == pytest.approx(total)


def test_partners_of_two_views_of_one_image_cross() -> None:
    t1, t2, order = rows(1), rows(2), torch.arange(B).roll(1)
    own, across = partners(t1, t2, "views", order)
    assert own == (t1, t2) and across == (t2, t1)
    own, across = partners(t1, t2, "images", order)
    assert torch.equal(own[1], t1[order]) and torch.equal(across[1], t2[order]) and across[0] is t2


class Linear(nn.Module):
    """Pixels to features, linearly: then the embedding of a mixture is the mixture of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 64, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


@pytest.mark.parametrize("mixed", ["images", "views", "latent"])
def test_inputs_and_targets_are_mixed_by_one_permutation(mixed: str) -> None:
    """For a network that is linear from end to end, L_sc is 0 exactly if both sides mix the same images alike."""
    objective = make("trimix", target="online", mixed=mixed, mix_per_sample=True)
    objective.encoder, objective.base.projector = Linear(), nn.Identity()
    objective.base.predictor, objective.unmix = nn.Identity(), None
    parts, _ = objective.objective(images(), images().flip(3))
    assert parts["consistency_loss"].item() < 1e-12
    assert parts["base_loss"].item() > 1e-3


def test_weights_make_the_sum() -> None:
    torch.manual_seed(3)
    objective = make("trimix", base_weight=0.5, extraction_weight=2, consistency_weight=3)
    parts = objective(images())
    expected = 0.5 * parts["base_loss"] + 2 * parts["extraction_loss"] + 3 * parts["consistency_loss"]
    torch.testing.assert_close(parts["loss"], expected)


def test_no_gradient_reaches_targets() -> None:
    objective = make("trimix", target="online")
    seen: list[Embedding] = []
    embed = objective.embed
    objective.embed = lambda views: seen.append(embed(views)) or seen[-1]
    objective(images())["loss"].backward()
    assert len(seen) == 2 and not any(embedding.target.requires_grad for embedding in seen)

    averaged = make("trimix")
    averaged(images())["loss"].backward()
    assert averaged.average is not None
    assert all(p.grad is None and not p.requires_grad for p in averaged.average.parameters())
    assert all(p.grad is not None for p in averaged.encoder.parameters())


def test_consistency_alone_moves_the_virtual_branch_alone() -> None:
    """Its targets are detached, so with the other weights at 0 the plain views get no gradient through it."""
    t, mix = rows(1).requires_grad_(), shares()
    virtual = rows(0).requires_grad_()
    objective = make("trimix", target="online")
    target = objective._target(images(), t)
    consistency_loss(virtual, (target, target[mix.order]), mix, "squared").backward()
    assert t.grad is None and virtual.grad is not None


def test_the_learned_unmixing_head_is_compared_with_both_originals() -> None:
    objective = make("trimix", target="online", extraction="unmixed")
    virtual, a, b = (torch.randn(8, 8, dtype=torch.float64) for _ in range(3))
    mix = Shares(torch.full((8, 1), 0.8, dtype=torch.float64), torch.arange(8).roll(1))
    larger, smaller = objective.unmix(virtual, mix.share)
    expected = (distance(larger, a).mean() + distance(smaller, b).mean()) / 2
    torch.testing.assert_close(objective._extraction(virtual, (a, b), mix), expected)


@pytest.mark.parametrize("per_sample", [False, True])
def test_shares_are_larger_halves_of_a_beta_distribution(per_sample: bool) -> None:
    torch.manual_seed(0)
    drawn = torch.stack([draw_shares(torch.zeros(4, 1), 1.0, per_sample).share for _ in range(4000)])
    assert drawn.min() >= 0.5 and drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(0.75, abs=0.01)  # the mean of the larger of u and 1 − u
    assert bool((drawn.std(1) > 0).any()) is per_sample
    order = draw_shares(torch.zeros(50, 1), 1.0, per_sample).order
    assert sorted(order.tolist()) == list(range(50))


def test_costs_count_a_third_view_and_targets() -> None:
    costs = {
        "byol": 2 + 2 / 3, "simsiam": 2, "trimix": 3 + 2 / 3, "trimix:mixed=latent": 2 + 2 / 3,
        "i-mix": 2 + 2 / 3, "un-mix": 3 + 2 / 3,
    }  # fmt: skip
    for name, cost in costs.items():
        assert make(name).passes_per_image == pytest.approx(cost), name


def test_forward_passes_are_as_many_as_are_counted() -> None:
    objective = make("trimix")
    calls = {"online": 0, "average": 0}
    objective.backbone.register_forward_hook(lambda *_: calls.__setitem__("online", calls["online"] + 1))
    objective.average.stages[0].backbone.register_forward_hook(
        lambda *_: calls.__setitem__("average", calls["average"] + 1)
    )
    objective(images())
    assert calls == {"online": 3, "average": 2}


def test_controls_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    order = torch.arange(8).roll(3)
    fixed = Shares(torch.full((8, 1), 0.6, dtype=torch.float64), order)
    monkeypatch.setattr("pretask.pretraining.mixing.draw_shares", lambda *_, **__: fixed)
    x1, x2 = images(), images().flip(3)
    control = make("un-mix", target="online", base="simsiam")
    parts, _ = control.objective(x1, x2)
    one, other = control.embed(x1), control.embed(x2)
    virtual = control.embed(0.6 * x1 + 0.4 * x1[order])
    mixed = 0.6 * control.base.toward(virtual, other) + 0.4 * control.base.toward(virtual, other.at(order))
    torch.testing.assert_close(parts["loss"], control.base.pair(one, other) + mixed, rtol=1e-6, atol=1e-8)

    control = make("i-mix", base="byol")
    parts, _ = control.objective(x1, x2)
    halves = []
    for view, opposite in ((x1, x2), (x2, x1)):
        q = control.embed(0.6 * view + 0.4 * view[order]).predicted
        t = control.average(opposite)
        halves.append((0.6 * distance(q, t) + 0.4 * distance(q, t[order])).mean())
    torch.testing.assert_close(parts["loss"], sum(halves) / 2, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("i-mix", {"base": "barlow"}, "--base byol or simsiam"),
        ("un-mix", {"mix_per_sample": True}, "unknown option of pre-training method un-mix 'mix_per_sample'"),
        ("trimix", {"base": "boyl"}, "did you mean 'byol'"),
        ("trimiks", {}, "did you mean 'trimix'"),
        ("plain", {}, "unknown pre-training method 'plain'"),
        ("byol", {"stop_gradient": False}, "--target online"),
        (
            "byol",
            {"target_momentum": 1.0},
            "target_momentum = 1.0 is not possible: type --target-momentum with a",
        ),
        ("trimix", {"consistency": "squard"}, "'squard' is not allowed: give one of squared, cosine, corr"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict, told: str) -> None:
    with pytest.raises(PretaskError, match=told):
        make(name, **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mix_alpha": 0.0}, "mix_alpha = 0.0 is not possible: type --mix-alpha with a number above 0"),
        (
            {"base_weight": -1.0},
            "base_weight = -1.0 is not possible: type --base-weight with a number 0 or more",
        ),
        (
            {"base_weight": 0.0, "extraction_weight": 0.0, "consistency_weight": 0.0},
            "trimix needs a weight above 0: type --base-weight 1, for example",
        ),
    ],
)
def test_options_out_of_range_are_refused(options: dict, told: str) -> None:
    with pytest.raises(PretaskError, match=f"^{told}$"):
        make("trimix", **options)


def test_a_base_is_a_spec_or_its_options_stand_beside_it() -> None:
    written = make("trimix:mixed=views", base="simclr:temperature=0.2", hidden_size=12)
    beside = make("trimix", base="simclr", temperature=0.2, hidden_size=12, mixed="views")
    for objective in (written, beside):
        assert (objective.base_name, objective.base.temperature) == ("simclr", 0.2)
        assert (objective.base.hidden_size, objective.base.embedding_size) == (12, 8)
        assert objective.mixed == "views"
    with pytest.raises(
        PretaskError, match=r"^temperature is given twice, as 0\.2 in base = simclr:temp.* and as 0\.3"
    ):
        make("trimix", base="simclr:temperature=0.2", temperature=0.3)


def test_the_module_is_called_a_reconstruction() -> None:
    assert "reconstructed" in (trimix.__doc__ or "") and trimix.TriMix.reconstruction
    assert create_objective is not None
