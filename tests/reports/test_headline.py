"""The headline claims what the intervals show, and nothing else."""

from __future__ import annotations

import re

from report_samples import study_rows

from pretask.reports.headline import headline

BASE = [0.900, 0.902, 0.901]


def said(values, budget="equal-epochs", **study):
    rows = study_rows({key: {"top1": found} for key, found in values.items()}, budget, study.get("reference"))
    return re.sub(r"</?(div|p|b)[^>]*>", "", headline({"rows": rows, **study}))


def test_a_winner_is_named_with_its_interval_and_the_next_method():
    found = said(
        {
            ("baseline", "single"): BASE,
            ("mt", "single"): [0.910, 0.911, 0.913],
            ("sla", "aggregated"): [0.930, 0.931, 0.932],
            ("sla", "single"): [0.921, 0.922, 0.923],
        }
    )
    # Differences 3.0, 2.9, 3.1: mean 3, std 0.1, half 4.303 * 0.1 / sqrt(3) = 0.25.
    assert found == (
        "At equal epochs, sla (aggregated) beat the baseline by 3.00 points of top-1 [+2.75, +3.25], "
        "95 % interval over 3 seeds. It was also ahead of the next method, mt (single), by +1.97 "
        "[+1.82, +2.11]."
    )


def test_a_lead_that_is_not_shown_is_said_so():
    found = said(
        {
            ("baseline", "single"): BASE,
            ("mt", "single"): [0.929, 0.932, 0.930],
            ("sla", "single"): [0.930, 0.931, 0.932],
        }
    )
    assert "sla (single) beat the baseline" in found
    assert "No difference shown to the next method, mt (single): +0.07 [" in found
    assert "ahead" not in found


def test_an_interval_around_zero_is_no_difference_though_a_lower_row_may_have_one():
    found = said(
        {
            ("baseline", "single"): BASE,
            ("sla", "single"): [0.89, 0.93, 0.91],
            ("mt", "single"): [0.901, 0.903, 0.9021],
        }
    )
    assert found.startswith(
        "At equal epochs, no difference shown: the highest, sla (single), is +0.90 points"
    )
    assert found.endswith("Above it with their interval: mt (single) [+0.09, +0.12].")
    assert "beat" not in found


def test_a_loss_is_called_one():
    found = said({("baseline", "single"): [0.9, 0.9025, 0.901], ("da", "single"): [0.880, 0.882, 0.881]})
    assert found.startswith(
        "At equal epochs, no method was shown to beat the baseline: the nearest, da (single), lost"
    )


def test_one_seed_claims_nothing():
    found = said({("baseline", "single"): [0.9], ("sla", "single"): [0.95]})
    assert "nothing can be said beyond one seed" in found
    assert "beat" not in found


def test_each_budget_has_its_sentence_and_the_reference_its_name():
    found = said(
        {("da", "single"): BASE, ("sla", "single"): [0.93, 0.931, 0.932]}, "equal-compute", reference="da"
    )
    assert found.startswith("At equal compute, sla (single) beat da by")
    assert "equal epochs" not in found


def test_a_study_without_comparisons_has_no_headline():
    assert said({("baseline", "single"): BASE}) == ""
