"""Statistics against figures worked out by hand from the t table."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from pretask.statistics import (
    bootstrap_interval,
    holm,
    mean_std,
    paired_difference,
    paired_share_difference,
    seeds_needed,
    share_interval,
)


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
    rounded = paired_difference([0.72, 0.71], [0.71, 0.70])  # 0.01 twice, but for the last digit
    assert rounded.low == rounded.high == rounded.mean
    assert (rounded.std, rounded.p, rounded.seeds_needed) == (0.0, None, None)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_std([]), "at least 1"),
        (lambda: mean_std([1.0, math.nan]), "finite"),
        (lambda: paired_difference([1.0, 2.0], [1.0]), "got 2 and 1"),
        (lambda: paired_difference([math.inf], [1.0]), "finite"),
        (lambda: paired_difference([1.0, 2.0], [1.0, 2.0], level=95), "level"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_p_is_that_of_the_paired_t_test():
    a, b = [0.91, 0.93, 0.92, 0.95, 0.90], [0.90, 0.90, 0.93, 0.92, 0.89]
    found = paired_difference(a, b)
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.std == pytest.approx(stats.tstd([x - y for x, y in zip(a, b, strict=True)]))
    assert paired_difference([1.0, 1.0], [1.0, 1.0]).p is None


def test_bootstrap_of_two_values_by_hand():
    # Means of two draws from {0, 2}: 0, 1, 1, 2 with a quarter each, so the 2.5 % point is 0 and the 97.5 % point 2.
    assert bootstrap_interval([0.0, 2.0]) == (0.0, 2.0)
    assert bootstrap_interval([0.5, 0.5]) == (0.5, 0.5)


def test_bootstrap_agrees_with_student_on_many_values():
    values = [math.sin(17.0 * i) for i in range(200)]
    low, high = bootstrap_interval(values)
    student = paired_difference(values, [0.0] * 200)
    assert (low, high) == pytest.approx((student.low, student.high), abs=0.02)
    assert bootstrap_interval(values) == (low, high)


def test_seeds_needed_is_what_simulated_studies_need():
    """A true difference of 1.2 spreads: 8 pairs reach 80 % power in the t-test, 7 do not (tables of Cohen, 1988)."""
    assert seeds_needed(1.2, 1.0) == 8
    assert seeds_needed(-0.5, 1.0) == 34
    assert seeds_needed(10.0, 1.0) == 3
    assert (
        seeds_needed(0.001, 1.0) is None and seeds_needed(0.0, 1.0) is None and seeds_needed(1.0, 0.0) is None
    )


def test_holm_by_hand():
    # 0.01·4, 0.02·3, 0.03·2 raised to 0.06, 0.5·1; one that is not known does not count.
    assert holm([0.03, 0.01, None, 0.5, 0.02]) == pytest.approx([0.06, 0.04, None, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None]) == [None]


def test_the_interval_of_a_share_is_wilsons():
    low, high = share_interval(8, 10)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert share_interval(10, 10)[1] == pytest.approx(1)


def test_paired_shares_by_hand():
    """30 images: a alone is right on 6, b alone on 2; half an observation is added to each of the four cells."""
    a = [True] * 6 + [False] * 2 + [True] * 22
    b = [False] * 6 + [True] * 2 + [True] * 22
    found = paired_share_difference(a, b)
    assert found.mean == pytest.approx(4 / 30)
    middle, spread = 4 / 32, (9 / 32 - (4 / 32) ** 2) ** 0.5 / 32**0.5
    assert (found.low, found.high) == pytest.approx((middle - 1.959964 * spread, middle + 1.959964 * spread))
    same = paired_share_difference(a, a)
    assert same.mean == 0
    assert same.low < 0 < same.high
