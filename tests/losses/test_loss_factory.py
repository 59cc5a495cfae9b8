"""Losses by name, their options, and what every one of them has to do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pretask.errors import PretaskError
from pretask.losses import LDAM, LOSSES, CrossEntropy, Focal, LossOptions, Reweighted, create_loss

COUNTS = torch.tensor([300, 40, 5])
NAMES = LOSSES.names()


def test_names():
    assert {"ce-drw", "class-balanced", "cross_entropy", "focal", "ldam", "ldam-drw"} <= set(NAMES)
    with pytest.raises(PretaskError, match="did you mean 'cross_entropy'"):
        create_loss("crossentropy")


def test_options_reach_the_loss():
    assert create_loss("cross_entropy", LossOptions(label_smoothing=0.1))(COUNTS).label_smoothing == 0.1
    assert create_loss("focal", LossOptions(focal_gamma=3.0))(COUNTS).gamma == 3.0
    ldam = create_loss("ldam", LossOptions(ldam_margin=0.2, ldam_scale=10.0, label_smoothing=0.1))(COUNTS)
    assert isinstance(ldam, LDAM)
    assert ldam.margins.max().item() == pytest.approx(0.2)
    assert (ldam.logit_scale, ldam.label_smoothing) == (10.0, 0.1)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "ldam"])
def test_any_loss_can_be_weighted(name):
    options = LossOptions(class_weights="effective", effective_beta=0.99, reweight_from=0.25)
    loss = create_loss(name, options)(COUNTS)
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
    plain = create_loss(name, LossOptions(label_smoothing=0.1, effective_beta=0.99))(COUNTS)
    asked_again = create_loss(
        name, LossOptions(class_weights="effective", effective_beta=0.99, reweight_from=start)
    )(COUNTS)
    for loss in (plain, asked_again):
        assert isinstance(loss, Reweighted) and type(loss.loss) is inside
        assert loss.start == start
        assert torch.equal(
            loss.weights, Reweighted(CrossEntropy(COUNTS), COUNTS, "effective", 0.0, 0.99).weights
        )
    assert plain.loss.label_smoothing == 0.1
    for other in (LossOptions(class_weights="inverse"), LossOptions(reweight_from=0.5)):
        with pytest.raises(PretaskError, match=f"{name} sets class weights itself .* type --loss"):
            create_loss(name, other)(COUNTS)


@pytest.mark.parametrize(
    ("option", "bad", "message"),
    [
        ("label_smoothing", (1.0, -0.1, math.nan), r"\[0, 1\).*--label-smoothing"),
        ("ldam_margin", (0.0, -1.0, math.nan, math.inf), "above 0.*--ldam-margin"),
        ("ldam_scale", (0.0, -1.0, math.nan, math.inf), "above 0.*--ldam-scale"),
        ("focal_gamma", (-0.1, math.nan, math.inf), "0 or more.*--focal-gamma"),
        ("effective_beta", (1.0, -0.1, math.nan), r"\[0, 1\).*--effective-beta"),
        ("reweight_from", (1.1, -0.1, math.nan), r"\[0, 1\].*--reweight-from"),
        ("class_weights", ("efective",), "did you mean 'effective'"),
    ],
)
def test_options_out_of_range(option, bad, message):
    for value in bad:
        with pytest.raises(PretaskError, match=message):
            LossOptions(**{option: value})


def test_options_at_the_ends_of_their_ranges():
    LossOptions(focal_gamma=0.0, effective_beta=0.0, reweight_from=1.0)


@pytest.mark.parametrize("weights", ["none", "inverse"])
@pytest.mark.parametrize("name", NAMES)
def test_every_loss(name, weights):
    """K = 1000: a value per sample, one-hot as hard, mixed as linear as its formula, finite gradients."""
    K = 1000
    counts = (500 * 0.01 ** (torch.arange(K) / (K - 1))).long()
    preset = not isinstance(LOSSES.get(name), type)
    options = LossOptions(label_smoothing=0.1, class_weights="none" if preset else weights)
    loss: nn.Module = create_loss(name, options)(counts)
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
