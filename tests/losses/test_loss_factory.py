"""Losses by name, their options, and what every one of them has to do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pretask.errors import PretaskError
from pretask.losses import LDAM, LOSSES, CrossEntropy, Focal, Reweighted, create_loss

COUNTS = torch.tensor([300, 40, 5])
NAMES = LOSSES.names()


def test_names():
    assert {"ce-drw", "class-balanced", "cross_entropy", "focal", "ldam", "ldam-drw"} <= set(NAMES)
    with pytest.raises(PretaskError, match="did you mean 'cross_entropy'"):
        create_loss("crossentropy")


def test_options_reach_the_loss():
    assert create_loss("cross_entropy", label_smoothing=0.1)(COUNTS).label_smoothing == 0.1
    assert create_loss("focal", focal_gamma=3.0)(COUNTS).gamma == 3.0
    given = create_loss("ldam", ldam_margin=0.2, ldam_scale=10.0, label_smoothing=0.1)
    written = create_loss("ldam:ldam_margin=0.2:ldam-scale=10:label_smoothing=0.1")
    for ldam in (given(COUNTS), written(COUNTS)):
        assert isinstance(ldam, LDAM)
        assert ldam.margins.max().item() == pytest.approx(0.2)
        assert (ldam.logit_scale, ldam.label_smoothing) == (10.0, 0.1)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "ldam"])
def test_any_loss_can_be_weighted(name):
    loss = create_loss(name, class_weights="effective", effective_beta=0.99, reweight_from=0.25)(COUNTS)
    assert isinstance(loss, Reweighted)
    assert type(loss.loss) is LOSSES.get(name)
    assert loss.start == 0.25
    expected = Reweighted(CrossEntropy(COUNTS), COUNTS, "effective", 0.25, 0.99).weights
    assert torch.equal(loss.weights, expected)
    assert not isinstance(create_loss(name)(COUNTS), Reweighted)


@pytest.mark.parametrize(
    ("name", "inside", "start"),
    [("ldam-drw", LDAM, 0.8), ("ce-drw", CrossEntropy, 0.8), ("class-balanced", CrossEntropy, 0.0)],
)
def test_presets(name, inside, start):
    loss = create_loss(name, label_smoothing=0.1, effective_beta=0.99)(COUNTS)
    assert isinstance(loss, Reweighted) and type(loss.loss) is inside
    assert loss.start == start
    assert torch.equal(loss.weights, Reweighted(CrossEntropy(COUNTS), COUNTS, "effective", 0.0, 0.99).weights)
    assert loss.loss.label_smoothing == 0.1
    for other in ({"class_weights": "effective"}, {"reweight_from": start}):
        with pytest.raises(PretaskError, match=f"unknown option of loss {name} '{next(iter(other))}'"):
            create_loss(name, **other)


OUT_OF_RANGE = [
    ("cross_entropy", "label_smoothing", (1.0, -0.1, math.nan), "0 or more and below 1"),
    ("ldam", "ldam_margin", (0.0, -1.0, math.nan, math.inf), "above 0"),
    ("ldam", "ldam_scale", (0.0, -1.0, math.nan, math.inf), "above 0"),
    ("focal", "focal_gamma", (-0.1, math.nan, math.inf), "0 or more"),
    ("focal", "effective_beta", (1.0, -0.1, math.nan), "0 or more and below 1"),
    ("focal", "reweight_from", (1.1, -0.1, math.nan), "from 0 to 1"),
    ("ldam-drw", "ldam_scale", (0.0,), "above 0"),
    ("ldam-drw", "effective_beta", (1.0,), "0 or more and below 1"),
    ("ce-drw", "effective_beta", (1.0,), "0 or more and below 1"),
    ("class-balanced", "label_smoothing", (1.0,), "0 or more and below 1"),
]


@pytest.mark.parametrize(("name", "option", "bad", "allowed"), OUT_OF_RANGE)
def test_options_out_of_range(name, option, bad, allowed):
    flag = f"--{option.replace('_', '-')}"
    for value in bad:
        refused = f"^{option} = {value} is not possible: type {flag} with a number {allowed}$"
        with pytest.raises(PretaskError, match=refused):
            create_loss(name, **{option: value})
        refused = f"^{option}={value} of loss {name} is not allowed: give a "
        with pytest.raises(PretaskError, match=refused):
            create_loss(f"{name}:{option}={value}")


@pytest.mark.parametrize("option", ["label_smoothing", "focal_gamma"])
def test_a_loss_by_itself_refuses_what_is_out_of_range(option):
    with pytest.raises(PretaskError, match=f"^{option} = -1 is not possible: give a number 0 or more"):
        Focal(COUNTS, **{option: -1})


def test_an_unknown_kind_of_class_weights_is_refused():
    with pytest.raises(
        PretaskError, match=r"'efective' is not allowed: give one of none, inverse, effective$"
    ):
        create_loss("ldam", class_weights="efective")
    with pytest.raises(
        PretaskError, match="class_weights=efective of loss ldam is not allowed: give none, inv"
    ):
        create_loss("ldam:class_weights=efective")


def test_options_at_the_ends_of_their_ranges():
    create_loss("focal", focal_gamma=0.0, effective_beta=0.0, reweight_from=1.0)(COUNTS)


@pytest.mark.parametrize("weights", ["none", "inverse"])
@pytest.mark.parametrize("name", NAMES)
def test_every_loss(name, weights):
    """K = 1000: a value per sample, one-hot as hard, mixed as linear as its formula, finite gradients."""
    K = 1000
    counts = (500 * 0.01 ** (torch.arange(K) / (K - 1))).long()
    preset = not isinstance(LOSSES.get(name), type)
    options = {} if preset else {"class_weights": weights}
    loss: nn.Module = create_loss(name, label_smoothing=0.1, **options)(counts)
    loss.set_progress(0.9)
    generator = torch.Generator().manual_seed(0)
    logits = (30 * (2 * torch.rand(8, K, generator=generator) - 1)).requires_grad_()
    labels = torch.randint(0, K, (8,), generator=generator)
    hard = loss(logits, labels)
    one_hot = nn.functional.one_hot(labels, K).float()
    assert hard.shape == (8,) and hard.isfinite().all() and (hard > 0).all()
    torch.testing.assert_close(loss(logits, one_hot), hard)
    assert not torch.allclose(loss(logits, one_hot.roll(1, 0)), hard)
    hard.mean().backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0


def test_losses_that_need_no_counts_take_empty_classes():
    for name, kind in (("cross_entropy", CrossEntropy), ("focal", Focal)):
        assert isinstance(create_loss(name)(torch.tensor([3, 0])), kind)
