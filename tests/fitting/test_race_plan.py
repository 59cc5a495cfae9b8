"""Times are read as people write them; the plan tries what the time allows, the likeliest first."""

from __future__ import annotations

import pytest

from pretask.errors import PretaskError
from pretask.fitting.plan import (
    Candidate,
    Race,
    affordable,
    chosen,
    halving,
    handicap,
    likeliest_first,
    plan_race,
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
    assert sensible_seconds(3_000) == 600
    assert sensible_seconds(10) == 180
    assert sensible_seconds(10**7) == 3600


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
    enough = [8, 25, 20, 60]
    found = affordable(costs, enough, images=1_000, seconds=60.0)
    assert [candidate.backbone for candidate in found] == ["b", "a"]  # b 60 epochs, a 600, c 6, d none
    found = affordable(costs, enough, images=1_000, seconds=600.0)
    assert [candidate.backbone for candidate in found] == ["c", "b", "a"]  # d has less than an epoch
    assert [c.backbone for c in affordable(costs, enough, images=10**7, seconds=60.0)] == ["a"]
    tuned = affordable(costs, [4] * 4, images=1_000, seconds=60.0)  # published weights pay from few epochs
    assert [candidate.backbone for candidate in tuned] == ["c", "b", "a"]


def test_self_supervision_is_likelier_the_longer_the_training() -> None:
    ways = ("baseline", "lorot", "sla-fast", "gssl")
    assert likeliest_first(ways, 100) == ["sla-fast", "baseline", "lorot", "gssl"]
    assert likeliest_first(ways, 40) == ["lorot", "baseline", "sla-fast", "gssl"]
    assert likeliest_first(ways, 10) == list(ways)
    assert likeliest_first(("baseline", "gssl"), 100) == ["baseline", "gssl"]


def test_several_views_may_be_behind_in_a_short_trial_before_a_long_training() -> None:
    assert handicap(passes=2, trial_epochs=15, last_epochs=100) == pytest.approx(0.075)
    assert handicap(passes=2, trial_epochs=60, last_epochs=100) == 0
    assert handicap(passes=2, trial_epochs=15, last_epochs=40) == 0
    assert handicap(passes=1, trial_epochs=15, last_epochs=100) == 0


def test_a_likelier_candidate_is_passed_by_more_than_the_error_of_its_images() -> None:
    # 100 images, 0.8 right: a standard error of 0.04.
    assert chosen([0.77, 0.80, 0.70], images=100, keep=1) == [0]
    assert chosen([0.75, 0.80, 0.70], images=100, keep=2) == [1, 0]
    assert chosen([0.77, 0.80, 0.70], images=10_000, keep=3) == [1, 0, 2]
    assert chosen([-1.0, 0.1], images=4, keep=1) == [1]


NETWORKS = [Candidate(name, 48, "baseline") for name in "abc"]
WAYS = ("baseline", "sla-fast", "lorot", "gssl")


def spent(race: Race, overhead: float) -> float:
    return sum(r.arms * (r.seconds + overhead) for r in race.rounds)


@pytest.mark.parametrize("seconds", [85, 170, 300, 600, 1200, 5000])
def test_a_race_has_few_candidates_in_long_trials(seconds: float) -> None:
    """An epoch of a second: 8 say something, 16 are good, and there are two to compare at least."""
    race = plan_race(NETWORKS, WAYS, epoch_seconds=1.0, seconds=seconds, overhead=2.0)
    assert spent(race, 2.0) <= 0.4 * seconds + 1e-6
    for of_round in race.rounds:
        assert of_round.seconds >= (8 if of_round.arms == 2 else 16)
    assert race.rounds[-1].keep == 1
    assert race.ways[0] == "baseline"
    networks = [r for r in race.rounds if r.stage == "network"]
    assert bool(networks) == (seconds >= 300)


def test_a_time_too_short_for_a_race_says_what_is_missing() -> None:
    race = plan_race(NETWORKS, WAYS, epoch_seconds=10.0, seconds=300, overhead=2.0)
    assert race.rounds == []
    assert (race.networks, race.ways) == (NETWORKS[:1], ["baseline"])
    enough = plan_race(NETWORKS, WAYS, epoch_seconds=10.0, seconds=300 + race.short, overhead=2.0)
    assert [r.arms for r in enough.rounds] == [2]
    assert enough.short == 0


def test_where_one_thing_is_fixed_the_other_is_raced() -> None:
    race = plan_race(NETWORKS, ("gssl",), epoch_seconds=1.0, seconds=600, overhead=2.0)
    assert {r.stage for r in race.rounds} == {"network"}
    race = plan_race(NETWORKS[:1], WAYS, epoch_seconds=1.0, seconds=600, overhead=2.0)
    assert {r.stage for r in race.rounds} == {"learning"}
    race = plan_race(NETWORKS[:1], ("gssl",), epoch_seconds=1.0, seconds=600, overhead=2.0)
    assert (race.rounds, race.short) == ([], 0)
