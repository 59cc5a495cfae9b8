"""The figures that a study's tables and charts can be about: which there are, who is first, and what is shown."""

from __future__ import annotations

import re

import pytest
from report_samples import sample_study

from pretask.reports.measures import judged, measures_of, ranked, switch
from pretask.reports.study_report import study_page
from pretask.statistics import holm, mean_std, paired_difference
from pretask.studies.summary import METRICS


def spread(*values):
    mean, std = mean_std(values)
    return {"mean": mean, "std": std, "values": list(values)}


def row(method, top1, difference=None, **test):
    test = {"top1": spread(*top1), **{key: spread(*values) for key, values in test.items()}}
    seeds = list(range(len(top1)))
    return {"method": method, "inference": "single", "budget": "equal-epochs", "seeds": seeds, "test": test,
            "difference": difference, "cost": 1.0}  # fmt: skip


BASE, ONE, TWO = [0.10, 0.12, 0.11], [0.07, 0.09, 0.08], [0.13, 0.16, 0.13]
ROWS = [
    row("baseline", [0.8, 0.81, 0.82], ece=BASE, loss=[0.5, 0.5, 0.6]),
    row("sla", [0.9, 0.91, 0.92], {"mean": 0.1}, ece=TWO, loss=[0.4, 0.4, 0.4]),
    row("mt", [0.85, 0.86, 0.87], {"mean": 0.05}, ece=ONE, loss=[0.7, 0.8, 0.7]),
]
STUDY = {"rows": ROWS}


def test_the_figures_of_a_study_are_those_that_it_has():
    assert measures_of(ROWS) == ["top1", "ece", "loss"]
    same = [row("a", [0.5], balanced=[0.5], few=[0.2]), row("b", [0.6], balanced=[0.6], few=[0.3])]
    assert measures_of(same) == ["top1"], "balanced is top-1 again, and one group is all classes"
    uneven = [row("a", [0.5], balanced=[0.4], few=[0.2], many=[0.6])]
    assert measures_of(uneven) == ["top1", "balanced", "many", "few"]
    every = [row("a", [0.5], **{key: [0.4] for key in METRICS if key != "top1"})]
    assert set(measures_of(every)) == set(METRICS)


def test_rows_are_ranked_by_the_figure_and_compared_in_it():
    assert [found["method"] for found in ranked(STUDY, "equal-epochs", "top1")] == ["sla", "mt", "baseline"]
    by_ece = ranked(STUDY, "equal-epochs", "ece")
    assert [found["method"] for found in by_ece] == ["mt", "baseline", "sla"], "the lowest error first"
    better, reference, worse = by_ece
    assert reference["difference"] is None
    expected = [paired_difference(values, BASE) for values in (ONE, TWO)]
    adjusted = holm([found.p for found in expected])
    for found, difference, p in zip((better, worse), expected, adjusted, strict=True):
        assert found["difference"] == {**vars(difference), "adjusted_p": p}
    assert by_ece[0]["difference"]["mean"] == pytest.approx(-0.03)


def test_seeds_are_paired_by_what_they_are():
    fewer = {**row("sla", [0.9, 0.9], {"mean": 0.1}, ece=[0.10, 0.13]), "seeds": [2, 0]}
    _, found = ranked({"rows": [ROWS[0], fewer]}, "equal-epochs", "ece")
    assert found["difference"]["mean"] == pytest.approx(((0.10 - 0.11) + (0.13 - 0.10)) / 2)


def test_nothing_is_compared_where_the_reference_is_missing():
    rows = [{**found, "difference": None} for found in ROWS[1:]]
    assert [found["difference"] for found in ranked({"rows": rows}, "equal-epochs", "ece")] == [None, None]


def test_less_is_better_for_errors_alone():
    fall, rise = {"low": -0.2, "high": -0.1}, {"low": 0.1, "high": 0.2}
    assert [judged(key, fall) for key in ("top1", "ece", "loss")] == ["down", "up", "up"]
    assert [judged(key, rise) for key in ("top1", "ece", "loss")] == ["up", "down", "down"]
    assert judged("ece", {"low": -0.1, "high": 0.1}) == "none"


def test_there_is_no_switch_without_a_choice():
    assert switch(["top1"]) == ""
    assert 'class="switch"' not in study_page(
        {**sample_study(), "rows": [row("baseline", [0.5])], "curves": []}
    )


def test_every_figure_has_its_button_its_style_and_its_parts(read_page):
    study = sample_study()
    for one in study["rows"]:
        one["test"] |= {key: one["test"]["ece"] for key in METRICS if key not in one["test"]}
    page = study_page(study)
    values = re.findall(r'<input type="radio" name="measure" value="(\w+)"', page)
    assert set(values) == set(METRICS)
    assert values[0] == "top1"
    assert page.count(' checked=""') == 1
    for key in values:
        assert page.count(f'class="measure {key}"') == 3, "equal epochs, equal compute, work"
        assert key == "top1" or f'main:has([value="{key}"]:checked) .measure.{key}' in page
    text = read_page(page)
    assert "lowest negative log-likelihood first" in text
    assert "in nats per image, paired by seed" in text
    assert len(page) < 5_000_000


def test_an_interval_of_an_error_is_written_in_its_unit(read_page):
    study = {**sample_study(), "rows": ROWS, "curves": []}
    text = read_page(study_page(study))
    likelihood = text[text.index("lowest negative log-likelihood") :]
    assert "sla single 0.400 ± 0.000" in likelihood
    # Differences 0.2, 0.3, 0.1: mean 0.2, std 0.1, half 4.303 * 0.1 / sqrt(3) = 0.248.
    assert "mt single 0.733 ± 0.058 +0.200 [−0.048, +0.448]" in likelihood
