"""Times are read as people write them; the plan tries what the time allows, the likeliest first."""

from __future__ import annotations

import pytest

from pretask.errors import PretaskError
from pretask.fitting.plan import (
    Candidate,
    affordable,
    arms_that_fit,
    chosen,
    halving,
    seconds_of,
    sensible_seconds,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("90", 90), ("1.5h", 5400), ("2 min", 120)],
)
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5x", "m", "0", "9s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(PretaskError, match="--time"):
        seconds_of(text)


def test_a_time_is_chosen_by_the_number_of_images() -> None:
    assert sensible_seconds(3_000) == 300
    assert sensible_seconds(10) == 120
    assert sensible_seconds(10**7) == 1800


@pytest.mark.parametrize("arms", [2, 3, 4, 5, 8])
def test_halving_spends_the_time_and_ends_with_one(arms: int) -> None:
    rounds = halving("learning", arms, 80.0, 1.0, overhead=0.5)
    left, spent = arms, 0.0
    for of_round in rounds:
        assert of_round.arms == left
        spent += left * (of_round.seconds + 0.5)
        left = of_round.keep
    assert left == 1
    assert spent == pytest.approx(80.0)
    assert [r.seconds for r in rounds] == sorted(r.seconds for r in rounds)


def test_halving_has_one_round_where_more_would_be_too_short() -> None:
    assert len(halving("network", 4, 20.0, 5.0, overhead=0.0)) == 1
    assert len(halving("network", 4, 44.0, 5.0, overhead=0.0)) == 2
    assert len(halving("network", 4, 44.0, 5.0, overhead=1.0)) == 1


def test_the_likeliest_network_is_the_most_expensive_that_can_be_trained_long_enough() -> None:
    costs = {
        Candidate(name, 48, "sla-fast"): cost
        for name, cost in (("a", 1e-4), ("b", 1e-3), ("c", 1e-2), ("d", 1.0))
    }
    found = affordable(costs, images=1_000, seconds=60.0)
    assert [candidate.backbone for candidate in found] == ["b", "a"]  # b 60 epochs, a 600, c 6, d none
    assert [c.backbone for c in affordable(costs, images=10**7, seconds=60.0)] == ["a"]
    assert arms_that_fit(found, 30.0, 15.0, overhead=0.0) == found
    assert arms_that_fit(found, 30.0, 15.0, overhead=1.0) == found[:1]
    assert arms_that_fit(found, 1.0, 15.0, overhead=0.0) == found[:1]


def test_a_likelier_candidate_is_passed_by_more_than_the_error_of_its_images() -> None:
    # 100 images, 0.8 right: a standard error of 0.04.
    assert chosen([0.77, 0.80, 0.70], images=100, keep=1) == [0]
    assert chosen([0.75, 0.80, 0.70], images=100, keep=2) == [1, 0]
    assert chosen([0.77, 0.80, 0.70], images=10_000, keep=3) == [1, 0, 2]
    assert chosen([-1.0, 0.1], images=4, keep=1) == [1]
