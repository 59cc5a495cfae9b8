"""Rows of studies by hand: two seeds, two budgets, a control without a budget; from runs to tables and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pretask.errors import PretaskError
from pretask.studies.plan import EQUAL_COMPUTE, EQUAL_EPOCHS, Plan, Variant
from pretask.studies.rows import (
    COLUMNS,
    Control,
    Done,
    Row,
    Score,
    read_rows,
    reference_of,
    rows_of,
    summarise,
    tables_of,
    write_rows,
)

BYOL, TRIMIX = Variant("byol", "byol"), Variant("trimix", "trimix")
PLAN = Plan(
    (BYOL, TRIMIX), (3, 4), {EQUAL_EPOCHS: {BYOL: 8, TRIMIX: 8}, EQUAL_COMPUTE: {BYOL: 11, TRIMIX: 8}}
)
KNN = {("byol", 8): (0.50, 0.54), ("byol", 11): (0.55, 0.57), ("trimix", 8): (0.60, 0.60)}


def done(cell) -> Done:
    knn = KNN[cell.method, cell.length][cell.seed - 3]
    work = cell.length * (3.0 if cell.method == "trimix" else 2.0)
    scores = [Score("knn", "features", "top1", knn), Score("knn", "features", "top1", 1 - knn, "x-rays")]
    return Done(scores, cell.length, work, 10.0)


RANDOM = Done([Score("knn", "features", "top1", 0.3), Score("own head", "single", "top1", 0.2)], 0, 0.0, 0.0)


@pytest.fixture
def rows() -> list[Row]:
    control = Control("random", dict.fromkeys((3, 4), RANDOM))
    return rows_of(PLAN, {cell: done(cell) for cell in PLAN.cells()}, [control])


def test_rows_come_by_budget_with_controls_last_in_each(rows):
    found = summarise(rows)
    assert [
        (row["budget"], row["method"], row["length"], row["cost"])
        for row in found
        if (row["protocol"], row["data"]) == ("knn", "")
    ] == [
        (EQUAL_EPOCHS, "byol", 8, 1), (EQUAL_EPOCHS, "trimix", 8, 1.5), (EQUAL_EPOCHS, "random", 0, 0),
        (EQUAL_COMPUTE, "byol", 11, 1.375), (EQUAL_COMPUTE, "trimix", 8, 1.5), (EQUAL_COMPUTE, "random", 0, 0),
    ]  # fmt: skip


def one(summaries, budget, method, protocol="knn", data=""):
    key = (budget, method, protocol, data)
    names = ("budget", "method", "protocol", "data")
    (found,) = [row for row in summaries if tuple(row[name] for name in names) == key]
    return found


def test_differences_are_to_the_reference_at_the_same_budget_seed_by_seed(rows):
    found = summarise(rows)
    assert one(found, EQUAL_EPOCHS, "byol")["difference"] is None
    assert one(found, EQUAL_COMPUTE, "byol")["difference"] is None
    trimix = one(found, EQUAL_EPOCHS, "trimix")
    assert trimix["test"]["top1"]["values"] == [0.60, 0.60] and trimix["seeds"] == [3, 4]
    assert trimix["difference"]["mean"] == pytest.approx(0.08)
    assert trimix["difference"]["high"] == pytest.approx(0.08 + 12.7062 * 0.02, abs=1e-4)
    assert one(found, EQUAL_COMPUTE, "trimix")["difference"]["mean"] == pytest.approx(0.04)
    assert one(found, EQUAL_EPOCHS, "trimix", data="x-rays")["difference"]["mean"] == pytest.approx(-0.08)
    assert one(found, EQUAL_EPOCHS, "random", "own head")["difference"] is None, "the reference has no head"


def test_p_is_adjusted_for_the_rows_of_one_budget_data_set_protocol_and_metric(rows):
    found = summarise(rows)
    random, trimix = (one(found, EQUAL_EPOCHS, name)["difference"] for name in ("random", "trimix"))
    small, large = sorted((random, trimix), key=lambda difference: difference["p"])
    assert small["adjusted_p"] == pytest.approx(max(2 * small["p"], 0))
    assert large["adjusted_p"] == pytest.approx(max(large["p"], small["adjusted_p"]))
    alone = one(found, EQUAL_EPOCHS, "trimix", data="x-rays")["difference"]
    assert alone["adjusted_p"] == alone["p"]


def test_a_seed_without_scores_is_left_out():
    found = {cell: done(cell) for cell in PLAN.cells() if (cell.method, cell.seed) != ("byol", 4)}
    trimix = one(summarise(rows_of(PLAN, found)), EQUAL_EPOCHS, "trimix")
    assert trimix["seeds"] == [3, 4]
    assert trimix["difference"]["n"] == 1 and trimix["difference"]["low"] is None


def test_without_the_reference_nothing_is_compared(rows):
    left = [row for row in rows if row.method != "byol"]
    assert all(row["difference"] is None and row["cost"] is None for row in summarise(left, "byol"))


def supervised(method: str, inference: str, seed: int, metric: str, value: float) -> Row:
    return Row(EQUAL_EPOCHS, method, inference, seed, "", "accuracy", metric, value, "epochs", 4, 100.0, 2.0)


SLA = [
    supervised(method, inference, seed, metric, top1 + 0.01 * seed - 0.1 * (metric == "ece"))
    for method, inference, top1 in (("sla", "aggregated", 0.7), ("sla", "single", 0.6), ("baseline", "single", 0.5))
    for seed in (0, 1, 2)
    for metric in ("top1", "ece")
]  # fmt: skip


def test_the_baseline_is_the_reference_and_its_first_inference_what_others_are_compared_with():
    assert reference_of(SLA) == "baseline" and reference_of(SLA[:4]) == "sla"
    means = [row["difference"] and row["difference"]["mean"] for row in summarise(SLA)]
    assert means == [pytest.approx(0.2), pytest.approx(0.1), None]
    by_ece = [row["differences"]["ece"] for row in summarise(SLA, "sla")]
    assert by_ece[0] is None and by_ece[1]["mean"] == pytest.approx(-0.1)
    assert by_ece[2]["mean"] == pytest.approx(-0.2)


def test_a_metric_that_a_seed_misses_is_left_out():
    short = [row for row in SLA if (row.method, row.seed, row.metric) != ("baseline", 1, "ece")]
    *_, baseline = summarise(short)
    assert list(baseline["test"]) == ["top1"]
    assert summarise(short)[0]["differences"]["ece"] is None


def test_what_is_written_is_read_as_it_was(rows, tmp_path):
    odd = replace(rows[0], method='-lr:"a",b', data="=1+1", value=0.1 + 0.2, seconds=1e-7)
    write_rows(tmp_path / "runs.csv", [odd, *rows])
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert lines[1].startswith("equal-epochs,\"'-lr:") and ",'=1+1," in lines[1], (
        "no formula for a spreadsheet"
    )
    assert read_rows(tmp_path / "runs.csv") == [odd, *rows]
    assert json.dumps(summarise(read_rows(tmp_path / "runs.csv"))) == json.dumps(summarise([odd, *rows]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("metric", "what", 1), "has no column metric: a runs.csv has budget"),
        (lambda text: text.splitlines()[0], "has no rows"),
        (lambda text: text.replace("0.54", "much"), "row 4: value is 'much', give a number"),
        (lambda text: text.replace("0.54", "nan"), "row 4: value is 'nan', give a number"),
        (
            lambda text: text.replace("features,4", "features,4.5"),
            "row 4: seed is '4.5', give a whole number",
        ),
        (lambda text: text + "a,b\n", "2 cells under 12 headings"),
    ],
)
def test_a_damaged_file_says_where(rows, tmp_path, change, message):
    path = tmp_path / "runs.csv"
    write_rows(path, rows)
    path.write_text(change(path.read_text()))
    with pytest.raises(PretaskError, match=message):
        read_rows(path)


def test_tables_of_a_study_with_several_protocols_part_them_by_data(rows, tmp_path):
    write_rows(tmp_path / "runs.csv", rows)
    titles = [table.title for table in tables_of(tmp_path)]
    assert titles[:4] == [
        "Equal epochs", "Equal epochs: difference to byol", "Equal epochs, transfer to x-rays",
        "Equal compute",
    ]  # fmt: skip
    text = "\n".join(table.markdown() for table in tables_of(tmp_path / "runs.csv", "trimix"))
    assert "| trimix | 8 | 60.00 ± 0.00 |  | 10 s | 1.00x |" in text
    assert "### Equal compute: difference to trimix" in text
    for reference, metric, message in ((None, "top11", "did you mean 'top1'"), ("biol", None, "mean 'byol'")):
        with pytest.raises(PretaskError, match=message):
            tables_of(tmp_path, reference, metric)


def test_any_other_csv_is_one_table_as_it_stands(tmp_path):
    path = tmp_path / "speed.csv"
    path.write_text('run,"step, ms"\n\'--compile yes,115\nfirst,\n')
    (table,) = tables_of(path)
    assert table.markdown() == "| run | step, ms |\n|---|---:|\n| --compile yes | 115 |\n| first |  |\n"
    with pytest.raises(PretaskError, match="has no rows of a study: leave out --reference and --metric"):
        tables_of(path, metric="top1")
