"""Statistics against figures worked out by hand from the t table."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from pretask.statistics import mean_std, paired_difference


def test_mean_and_sample_standard_deviation_by_hand():
    mean, std = mean_std([1.0, 2.0, 6.0])
    assert mean == 3.0
    assert std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_one_seed_has_a_mean_and_no_spread():
    assert mean_std([0.7]) == (0.7, None)


def test_interval_of_three_pairs_by_hand():
    # Differences 1, 2, 3: mean 2, std 1; t(0.975, 2) = 4.302653 in any table.
    found = paired_difference([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])
    half = 4.302653 / math.sqrt(3)
    assert (found.mean, found.n) == (2.0, 3)
    assert found.low == pytest.approx(2 - half, abs=1e-5)
    assert found.high == pytest.approx(2 + half, abs=1e-5)


def test_two_pairs_at_ninety_per_cent_by_hand():
    # Differences 0 and 2: std sqrt(2), standard error 1; t(0.95, 1) = 6.313752.
    found = paired_difference([5.0, 7.0], [5.0, 5.0], level=0.90)
    assert found.low == pytest.approx(1 - 6.313752, abs=1e-5)
    assert found.high == pytest.approx(1 + 6.313752, abs=1e-5)


def test_interval_is_what_the_paired_t_test_gives():
    a, b = [0.91, 0.93, 0.92, 0.95, 0.90], [0.90, 0.90, 0.93, 0.92, 0.89]
    theirs = stats.ttest_rel(a, b).confidence_interval(0.95)
    ours = paired_difference(a, b)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_one_pair_has_no_interval():
    found = paired_difference([0.9], [0.8])
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high, found.n) == (None, None, 1)


def test_equal_differences_have_an_interval_without_width():
    found = paired_difference([1.0, 1.0], [1.0, 1.0])
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_std([]), "at least one"),
        (lambda: mean_std([1.0, math.nan]), "finite"),
        (lambda: paired_difference([1.0, 2.0], [1.0]), "got 2 and 1"),
        (lambda: paired_difference([math.inf], [1.0]), "finite"),
        (lambda: paired_difference([1.0, 2.0], [1.0, 2.0], level=95), "level"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
