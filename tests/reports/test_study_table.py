"""The metrics that a study's tables can be about: which there are, who is first, and what is shown."""

from __future__ import annotations

import pytest
from report_samples import study_rows

from pretask.reports.study_table import measures_of, ranked, study_tables, verdict
from pretask.statistics import holm, paired_difference

BASE, ONE, TWO = [0.10, 0.12, 0.11], [0.07, 0.09, 0.08], [0.13, 0.16, 0.13]
ROWS = study_rows({
    ("baseline", "single"): {"top1": [0.8, 0.81, 0.82], "ece": BASE, "loss": [0.5, 0.5, 0.6]},
    ("sla", "single"): {"top1": [0.9, 0.91, 0.92], "ece": TWO, "loss": [0.4, 0.4, 0.4]},
    ("mt", "single"): {"top1": [0.85, 0.86, 0.87], "ece": ONE, "loss": [0.7, 0.8, 0.7]},
})  # fmt: skip


def test_the_metrics_of_a_study_are_those_that_it_has():
    assert measures_of(ROWS) == ["top1", "ece", "loss"]
    same = study_rows({
        ("a", ""): {"top1": [0.5], "balanced": [0.5], "few": [0.2]},
        ("b", ""): {"top1": [0.6], "balanced": [0.6], "few": [0.3]},
    })  # fmt: skip
    assert measures_of(same) == ["top1"], "balanced is top-1 again, and one group is all classes"
    uneven = study_rows({("a", ""): {"top1": [0.5], "balanced": [0.4], "few": [0.2], "many": [0.6]}})
    assert measures_of(uneven) == ["top1", "balanced", "many", "few"]


def test_rows_are_ranked_by_the_metric_and_compared_in_it():
    assert [row["method"] for row in ranked(ROWS, "top1")] == ["sla", "mt", "baseline"]
    better, reference, worse = ranked(ROWS, "ece")
    assert [row["method"] for row in (better, reference, worse)] == ["mt", "baseline", "sla"]
    assert reference["differences"]["ece"] is None
    expected = [paired_difference(values, BASE) for values in (ONE, TWO)]
    adjusted = holm([found.p for found in expected])
    for row, difference, p in zip((better, worse), expected, adjusted, strict=True):
        found = row["differences"]["ece"]
        assert (found["mean"], found["p"], found["adjusted_p"]) == (difference.mean, difference.p, p)


def test_less_is_better_for_errors_alone():
    fall, rise = {"low": -0.2, "high": -0.1}, {"low": 0.1, "high": 0.2}
    assert [verdict(fall, key) for key in ("top1", "ece", "loss")] == ["down", "up", "up"]
    assert [verdict(rise, key) for key in ("top1", "ece", "loss")] == ["up", "down", "down"]
    assert verdict({"low": -0.1, "high": 0.1}, "ece") == "none"


def test_one_protocol_has_a_row_per_inference_and_the_difference_beside_it():
    (table,) = study_tables(ROWS, "baseline", "test")
    assert table.markdown().splitlines()[2:7] == [
        "| method | inference | epochs | top-1 % | difference [95 % CI] | ECE % | time | cost |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        "| baseline | single | 40 | 81.00 ± 1.00 |  | 11.00 ± 1.00 | 3 s | 1.00x |",
        "| sla | single | 40 | 91.00 ± 1.00 | +10.00 [+10.00, +10.00] | 14.00 ± 1.73 | 3 s | 1.00x |",
        "| mt | single | 40 | 86.00 ± 1.00 | +5.00 [+5.00, +5.00] | 8.00 ± 1.00 | 3 s | 1.00x |",
    ]
    assert table.note.startswith(
        "Top-1 accuracy on test images, mean ± standard deviation over 3 seeds; difference"
    )
    assert "best on the TEST images, so values are optimistic" in table.note
    (by_loss,) = study_tables(ROWS, "baseline", metric="loss", best_first=True)
    assert [row[0] for row in by_loss.rows] == ["sla", "baseline", "mt"]
    # Differences 0.2, 0.3, 0.1: mean 0.2, std 0.1, half 4.303 * 0.1 / sqrt(3) = 0.248.
    assert by_loss.rows[2][4].text == "+0.200 [−0.048, +0.448]"
    assert "lowest first" in by_loss.note and "in nats per image, paired by seed" in by_loss.note
    assert "not adjusted for 2 comparisons" in by_loss.note


def test_several_protocols_have_a_column_each_and_a_table_of_differences():
    values = {"knn": [0.5, 0.6, 0.7], "1 % labels": [0.3, 0.3, 0.4]}
    rows = [
        row
        for protocol, found in values.items()
        for row in study_rows(
            {
                ("byol", "features"): {"balanced": found},
                ("trimix", "features"): {"balanced": [v + 0.1 for v in found]},
            },
            protocol=protocol,
        )
    ]
    head = study_rows({("supervised", "single"): {"balanced": [0.9, 0.9, 0.8]}}, protocol="own head")
    scores, differences = study_tables([*rows, *head], "byol")
    assert [column.name for column in scores.columns] == [
        "method", "epochs", "knn", "1 % labels", "own head", "time", "cost",
    ]  # fmt: skip
    assert "| trimix | 40 | 70.00 ± 10.00 | 43.33 ± 5.77 |  | 3 s | 1.00x |" in scores.markdown()
    assert [column.name for column in differences.columns] == ["method", "knn", "1 % labels"], (
        "none has a head"
    )
    assert differences.title == "Equal epochs: difference to byol"
    assert [row[0] for row in differences.rows] == ["trimix", "supervised"]
    assert "Balanced accuracy" in scores.note and "not adjusted for 2 comparisons" in differences.note


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
