"""Splits against plain definitions, and against the published counts."""

from __future__ import annotations

import pytest
import torch

from pretask.data.splits.indices import hold_out, label_fraction, long_tailed, long_tailed_counts, per_class
from pretask.errors import PretaskError

# Uneven and interleaved: 60, 30 and 10 images.
LABELS = torch.tensor(([0] * 6 + [1] * 3 + [2]) * 10)


def counts(indices, labels=LABELS):
    return torch.bincount(labels[indices], minlength=3).tolist()


def is_ascending(indices):
    return indices.dtype == torch.int64 and (indices.diff() > 0).all()


@pytest.mark.parametrize(
    ("size", "held_counts"), [(0.1, [6, 3, 1]), (20, [12, 6, 2]), (0.5, [30, 15, 5]), (7, [4, 2, 1])]
)
def test_hold_out_is_stratified_and_complete(size, held_counts):
    kept, held = hold_out(LABELS, size, seed=3)
    assert counts(held) == held_counts
    assert is_ascending(kept)
    assert is_ascending(held)
    assert torch.cat((kept, held)).sort().values.tolist() == list(range(100))


def test_hold_out_leaves_every_class_an_image():
    labels = torch.tensor([0] * 10 + [1, 1])
    kept, held = hold_out(labels, 10, seed=0)
    assert torch.bincount(labels[kept]).tolist() == [1, 1]
    assert len(held) == 10
    with pytest.raises(PretaskError, match="hold out 10 or fewer"):
        hold_out(labels, 11, seed=0)


@pytest.mark.parametrize("total", range(1, 88))
def test_hold_out_gives_exactly_the_number_asked_for(total):
    labels = torch.arange(13).repeat_interleave(torch.arange(2, 15))[:100]
    _, held = hold_out(labels, total, seed=1)
    assert len(held) == total
    exact = torch.bincount(labels) * total / len(labels)
    assert (torch.bincount(labels[held], minlength=13) - exact).abs().max() < 2


@pytest.mark.parametrize("size", [0.0, 1.0, -0.5, 1.5, 0, 100, -3])
def test_hold_out_refuses(size):
    with pytest.raises(PretaskError, match="hold out"):
        hold_out(LABELS, size, seed=0)


@pytest.mark.parametrize(
    "choose",
    [
        lambda seed: hold_out(LABELS, 0.3, seed)[1],
        lambda seed: per_class(LABELS, 5, seed),
        lambda seed: label_fraction(LABELS, 0.3, seed),
        lambda seed: long_tailed(LABELS, 4, "step", seed),
    ],
)
def test_seeds(choose):
    state = torch.random.get_rng_state()
    assert choose(0).tolist() == choose(0).tolist()
    assert choose(0).tolist() != choose(1).tolist()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_choice_stays_what_it_was():
    """Published results name a seed; the images that it stands for must not change."""
    assert hold_out(LABELS[:20], 4, seed=0)[1].tolist() == [4, 5, 7, 19]
    assert per_class(LABELS[:20], 1, seed=1).tolist() == [5, 18, 19]


def test_per_class():
    chosen = per_class(LABELS, 10, seed=0)
    assert counts(chosen) == [10, 10, 10]
    assert is_ascending(chosen)
    with pytest.raises(
        PretaskError, match="class 'emu' has 10 train images, fewer than 11: type --per-class 10"
    ):
        per_class(LABELS, 11, 0, ("cat", "dog", "emu"))
    with pytest.raises(PretaskError, match="at least 1"):
        per_class(LABELS, 0, 0)


def test_label_fraction():
    assert counts(label_fraction(LABELS, 0.1, seed=0)) == [6, 3, 1]
    assert counts(label_fraction(LABELS, 0.01, seed=0)) == [1, 1, 1]
    assert counts(label_fraction(LABELS, 0.25, seed=0)) == [15, 8, 3]  # halves upwards
    assert label_fraction(LABELS, 1.0, seed=0).tolist() == list(range(100))
    for fraction in (0.0, 1.1):
        with pytest.raises(PretaskError, match="label fraction"):
            label_fraction(LABELS, fraction, 0)


@pytest.mark.parametrize(
    ("classes", "ratio", "total"),
    [
        (10, 100, 12_406),
        (10, 50, 13_996),
        (10, 20, 17_023),
        (10, 10, 20_431),
        (100, 100, 10_847),
        (100, 50, 12_608),
        (100, 20, 15_907),
        (100, 10, 19_573),
    ],
)
def test_long_tailed_totals_of_cifar(classes, ratio, total):
    labels = torch.arange(classes).repeat(50_000 // classes)
    chosen = long_tailed(labels, ratio, seed=0)
    assert len(chosen) == total
    counted = torch.bincount(labels[chosen])
    assert counted[0] == 50_000 // classes
    assert counted[-1] == 50_000 // classes // ratio
    assert (counted.diff() <= 0).all()
    assert is_ascending(chosen)


def test_step_profile():
    assert long_tailed_counts(5000, 10, 100, "step") == [5000] * 5 + [50] * 5
    assert long_tailed_counts(10, 3, 100, "step") == [10, 1, 1]


def test_long_tailed_of_uneven_classes_takes_what_there_is():
    assert counts(long_tailed(LABELS, 2)) == [60, 30, 10]
    assert counts(long_tailed(LABELS, 1)) == [60, 30, 10]


def test_long_tailed_refuses():
    with pytest.raises(PretaskError, match="at least 1"):
        long_tailed(LABELS, 0.5)
    with pytest.raises(PretaskError, match="exponential or step"):
        long_tailed(LABELS, 10, "linear")
