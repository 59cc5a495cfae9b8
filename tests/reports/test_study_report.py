"""The study report over a made-up study."""

from __future__ import annotations

import re

import pytest
from report_samples import sample_study, study_rows

from pretask.reports import write_study_report
from pretask.reports.study_report import study_page, switch
from pretask.studies.compare import METRICS


def test_the_report_is_one_sound_file(tmp_path, read_page):
    path = write_study_report(sample_study(), tmp_path / "a" / "report.html")
    text = read_page(path.read_text())
    for expected in ("digits-compare", "Equal epochs", "Equal compute", "How it was measured", "torch"):
        assert expected in text
    assert "pretask compare --data digits" in text
    assert "not adjusted for 5 comparisons" in text


def test_every_row_stands_with_its_spread_and_interval(read_page):
    study = sample_study()
    text = read_page(study_page(study))
    for row in study["rows"]:
        top1 = row["test"]["top1"]
        assert f"{100 * top1['mean']:.2f} ± {100 * top1['std']:.2f}" in text
        if row["difference"]:
            low = f"{100 * row['difference']['low']:+.2f}".replace("-", "−")
            assert f"[{low}, " in text


def test_one_seed_has_neither_spread_nor_interval(read_page):
    text = read_page(study_page(sample_study(seeds=1)))
    assert "±" not in text
    assert "nothing can be said beyond one seed" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"selection": "test"}, "selected on the test set, as was asked for: all values are optimistic"),
        ({"failures": ["sla-seed1: NaN"]}, "1 run failed and are missing here: sla-seed1: NaN"),
        ({"curves": [], "failures": None}, "Equal epochs"),
        ({"name": "<i>x</i>"}, "<i>x</i>"),
    ],
)
def test_what_a_study_may_be(read_page, change, expected):
    assert expected in read_page(study_page(sample_study() | {"curves": []} | change))


def test_long_tailed_metrics_come_by_group_and_rare_ones_by_choice(read_page):
    spread = {"mean": 0.5, "std": 0.01, "values": [0.5] * 3}
    study = sample_study() | {"curves": []}
    for row in study["rows"]:
        row["test"] |= {"many": spread, "few": spread, "medium": {"mean": None}, "loss": spread}
        row["differences"] |= dict.fromkeys(("many", "few", "loss"))
    text = read_page(study_page(study))
    assert "seeds for 80 % balanced % many % few % ECE %" in text
    assert "medium" not in text
    assert "negative log-likelihood" in text


def test_balanced_accuracy_is_left_out_where_it_is_the_top1_again(read_page):
    study = sample_study() | {"curves": []}
    for row in study["rows"]:
        row["test"]["balanced"] = row["test"]["top1"]
    assert "balanced" not in read_page(study_page(study))


def test_runs_that_both_budgets_share_are_drawn_in_both(read_page):
    document = study_page(sample_study())
    training = document[document.index("<h2>Training</h2>") :]
    equal_compute = training[training.index("<h3>Equal compute</h3>") :]
    legend = equal_compute[: equal_compute.index("</ul>")]
    assert [name in legend for name in ("baseline", "sla", "ssfe", "gssl")] == [True] * 4


def test_a_row_without_some_seeds_tells_how_many_it_has(read_page):
    study = sample_study()
    study["rows"][1]["seeds"] = [0, 1]
    text = read_page(study_page(study))
    assert "time cost seeds" in text


def test_accuracy_against_work_joins_what_a_method_reached(read_page):
    page = study_page(sample_study())
    assert "Results against work" in read_page(page)
    marks = {  # a run that both budgets share is one mark
        (f"{row['method']} ({row['inference']})", row["cost"]): 100 * row["test"]["top1"]["mean"]
        for row in sample_study()["rows"]
    }
    for (name, cost), top1 in marks.items():
        assert f"<title>{name}, {cost:.3g} x: {top1:.2f} %</title>" in page


def test_a_study_of_equal_costs_has_no_such_chart():
    study = sample_study()
    study["rows"] = [row for row in study["rows"] if row["cost"] == 4]
    assert "Results against work" not in study_page(study)


def test_changes_by_class_are_those_to_the_reference_largest_first(read_page):
    study = sample_study()
    study["data"]["class_names"] = ["cat", "dog", "owl"]
    study["per_class"] = [
        {"budget": "equal-compute", "method": method, "inference": inference, "accuracy": accuracy}
        for method, inference, accuracy in (
            ("baseline", "single", [0.5, 0.6, None]), ("sla", "aggregated", [0.52, 0.45, 0.7]), ("mt", "single", []),
        )
    ]  # fmt: skip
    text = read_page(study_page(study))
    assert "class baseline % sla (aggregated) dog 60.00 −15.00 cat 50.00 +2.00 owl – –" in text
    assert "at equal compute; the largest change first" in text


def test_many_classes_are_folded(read_page):
    study = sample_study()
    study["data"]["class_names"] = [f"kind {c}" for c in range(30)]
    study["per_class"] = [
        {"budget": "equal-compute", "method": method, "inference": inference, "accuracy": accuracy}
        for method, inference, accuracy in (
            ("baseline", "single", [0.5] * 30), ("sla", "aggregated", [0.5 + c / 100 for c in range(30)]),
        )
    ]  # fmt: skip
    page = study_page(study)
    assert "the other 10 classes" in read_page(page)
    assert page.index("kind 29") < page.index("kind 10<") < page.index("the other 10") < page.index("kind 9<")


def test_tasks_are_drawn_over_training(read_page):
    study = sample_study()
    for run in study["curves"]:
        if run["method"] == "sla":
            run["tasks"] = {"pretext": [0.25 + 0.01 * epoch for epoch in run["at"]]}
    page = study_page(study)
    assert "Accuracies of the tasks over training" in read_page(page)
    assert "pretext, epoch 40: 65.00 %" in page
    assert "Accuracies of the tasks" not in study_page(sample_study())


def test_there_is_no_switch_without_a_choice():
    assert switch(["top1"]) == ""
    rows = study_rows({("baseline", "single"): {"top1": [0.5]}})
    assert 'class="switch"' not in study_page({**sample_study(), "rows": rows, "curves": []})


def test_every_metric_has_its_button_its_style_and_its_parts(read_page):
    study = sample_study()
    for row in study["rows"]:
        row["test"] |= {key: row["test"]["ece"] for key in METRICS if key not in row["test"]}
        row["differences"] |= {
            key: row["differences"]["ece"] for key in METRICS if key not in row["differences"]
        }
    page = study_page(study)
    values = re.findall(r'<input type="radio" name="measure" value="(\w+)"', page)
    assert set(values) == set(METRICS)
    assert values[0] == "top1"
    assert page.count(' checked=""') == 1
    for key in values:
        assert page.count(f'class="measure {key}"') == 3, "equal epochs, equal compute, work"
        assert key == "top1" or f'main:has([value="{key}"]:checked) .measure.{key}' in page
    text = read_page(page)
    assert "Negative log-likelihood on test images, lowest first" in text
    assert "in nats per image, paired by seed" in text
    assert len(page) < 5_000_000


def test_several_protocols_have_columns_tables_of_differences_and_a_chart_each(read_page, tmp_path):
    rows = [
        row
        for protocol, data in (("knn", ""), ("1 % labels", ""), ("knn", "x-rays"), ("1 % labels", "x-rays"))
        for row in study_rows(
            {
                ("byol", "features"): {"balanced": [0.49, 0.51]},
                ("trimix", "features"): {
                    "balanced": [0.59, 0.61] if protocol == "knn" and not data else [0.5, 0.51]
                },
            },
            protocol=protocol,
            data=data,
        )
    ]
    study = sample_study() | {
        "rows": rows, "reference": "byol", "curves": [], "protocol": {"knn": "knn/1: as it is"}, "selection": "last",
    }  # fmt: skip
    page = write_study_report(study, tmp_path / "report.html").read_text()
    text = read_page(page)
    for expected in (
        "Transfer to x-rays",
        "60.00 ± 1.41",
        "not adjusted for 2 comparisons",
        "knn/1: as it is",
    ):
        assert expected in text
    assert page.count("<figure>") == 4
    assert "headline" not in page.partition("</style>")[2] and 'class="measure' not in page
    assert "(features)" not in text, "a chart of one protocol names methods alone"
