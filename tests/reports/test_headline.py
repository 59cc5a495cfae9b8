"""The headline claims what the intervals show, and nothing else."""

from __future__ import annotations

import re

import pytest

from pretask.reports.headline import headline, verdict
from pretask.statistics import paired_difference

BASE = [0.900, 0.902, 0.901]


def row(method, values, inference="single", budget="equal-epochs", reference=None):
    difference = None if reference is None else vars(paired_difference(values, reference))
    return {
        "method": method,
        "inference": inference,
        "budget": budget,
        "seeds": list(range(len(values))),
        "test": {"top1": {"mean": sum(values) / len(values), "values": values}},
        "difference": difference,
    }


def said(*rows, **study):
    return re.sub(r"</?(div|p|b)[^>]*>", "", headline({"rows": list(rows), **study}))


def test_a_winner_is_named_with_its_interval_and_the_next_method():
    found = said(
        row("baseline", BASE),
        row("mt", [0.910, 0.911, 0.913], reference=BASE),
        row("sla", [0.930, 0.931, 0.932], "aggregated", reference=BASE),
        row("sla", [0.921, 0.922, 0.923], reference=BASE),
    )
    # Differences 3.0, 2.9, 3.1: mean 3, std 0.1, half 4.303 * 0.1 / sqrt(3) = 0.25.
    assert found == (
        "At equal epochs, sla (aggregated) beat the baseline by 3.00 points of top-1 [+2.75, +3.25], "
        "95 % interval over 3 seeds. It was also ahead of the next method, mt (single), by +1.97 "
        "[+1.82, +2.11]."
    )


def test_a_lead_that_is_not_shown_is_said_so():
    found = said(
        row("baseline", BASE),
        row("mt", [0.929, 0.932, 0.930], reference=BASE),
        row("sla", [0.930, 0.931, 0.932], reference=BASE),
    )
    assert "sla (single) beat the baseline" in found
    assert "No difference shown to the next method, mt (single): +0.07 [" in found
    assert "ahead" not in found


def test_an_interval_around_zero_is_no_difference_though_a_lower_row_may_have_one():
    found = said(
        row("baseline", BASE),
        row("sla", [0.89, 0.93, 0.91], reference=BASE),
        row("mt", [0.901, 0.903, 0.9021], reference=BASE),
    )
    assert found.startswith(
        "At equal epochs, no difference shown: the highest, sla (single), is +0.90 points"
    )
    assert found.endswith("Above it with their interval: mt (single) [+0.09, +0.12].")
    assert "beat" not in found


def test_a_loss_is_called_one():
    found = said(row("baseline", BASE), row("da", [0.880, 0.882, 0.881], reference=[0.9, 0.9025, 0.901]))
    assert found.startswith(
        "At equal epochs, no method was shown to beat the baseline: the nearest, da (single), lost"
    )


def test_one_seed_claims_nothing():
    found = said(row("baseline", [0.9]), row("sla", [0.95], reference=[0.9]))
    assert "nothing can be said beyond one seed" in found
    assert "beat" not in found


def test_each_budget_has_its_sentence_and_the_reference_its_name():
    found = said(
        row("da", BASE, budget="equal-compute"),
        row("sla", [0.93, 0.931, 0.932], budget="equal-compute", reference=BASE),
        reference="da",
    )
    assert found.startswith("At equal compute, sla (single) beat da by")
    assert "equal epochs" not in found


def test_a_study_without_comparisons_has_no_headline():
    assert said(row("baseline", BASE)) == ""


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.1, 0.2, "up"),
        (-0.2, -0.1, "down"),
        (-0.1, 0.1, "none"),
        (0.0, 0.1, "none"),
        (0.1, 0.1, "none"),
        (None, None, "none"),
        (float("nan"), 0.1, "none"),
    ],
)
def test_verdicts(low, high, shown):
    difference = {"mean": 0.1, "low": low, "high": high}
    assert verdict(difference) == shown
    assert verdict({**difference, "adjusted_p": 0.001}) == shown
    assert verdict({**difference, "adjusted_p": 0.2}) == "none"
