"""Rows of scores by hand: two seeds, two budgets, a control without a budget."""

from __future__ import annotations

import pytest

from pretask.studies.plan import EQUAL_COMPUTE, EQUAL_EPOCHS, Plan
from pretask.studies.score_table import markdown_scores
from pretask.studies.scores import Extra, Scored, score_rows
from pretask.studies.variants import Variant

BYOL, TRIMIX = Variant("byol", "byol"), Variant("trimix", "trimix")
PLAN = Plan(
    (BYOL, TRIMIX), (3, 4), {EQUAL_EPOCHS: {BYOL: 8, TRIMIX: 8}, EQUAL_COMPUTE: {BYOL: 11, TRIMIX: 8}}
)
KNN = {("byol", 8): (0.50, 0.54), ("byol", 11): (0.55, 0.57), ("trimix", 8): (0.60, 0.60)}


def scored(cell) -> Scored:
    knn = KNN[cell.method, cell.length][cell.seed - 3]
    work = cell.length * (3.0 if cell.method == "trimix" else 2.0)
    return Scored({"knn": knn, "knn, x-rays": 1 - knn}, 10.0, work, cell.length)


@pytest.fixture
def rows():
    control = Extra("random", {seed: Scored({"knn": 0.3, "own head": 0.2}, 0.0, 0.0, 0) for seed in (3, 4)})
    return score_rows(PLAN, {cell: scored(cell) for cell in PLAN.cells()}, [control])


def test_rows_come_by_budget_with_controls_first(rows) -> None:
    assert [(row["budget"], row["method"], row["length"], row["cost"]) for row in rows] == [
        (EQUAL_EPOCHS, "random", 0, 0), (EQUAL_EPOCHS, "byol", 8, 1), (EQUAL_EPOCHS, "trimix", 8, 1.5),
        (EQUAL_COMPUTE, "random", 0, 0), (EQUAL_COMPUTE, "byol", 11, 1.375), (EQUAL_COMPUTE, "trimix", 8, 1.5),
    ]  # fmt: skip


def test_differences_are_to_the_reference_at_the_same_budget_seed_by_seed(rows) -> None:
    random, byol, trimix, _, longer, same = rows
    assert byol["differences"]["knn"] is None and longer["differences"]["knn"] is None
    assert trimix["scores"]["knn"]["values"] == [0.60, 0.60]
    found = trimix["differences"]["knn"]
    assert found["mean"] == pytest.approx(0.08)
    assert found["high"] == pytest.approx(0.08 + 12.7062 * 0.02, abs=1e-4)
    assert same["differences"]["knn"]["mean"] == pytest.approx(0.04)
    assert trimix["differences"]["knn, x-rays"]["mean"] == pytest.approx(-0.08)
    assert random["differences"]["own head"] is None, "the reference has no head"


def test_a_seed_without_scores_is_left_out() -> None:
    found = {cell: scored(cell) for cell in PLAN.cells() if (cell.method, cell.seed) != ("byol", 4)}
    trimix = score_rows(PLAN, found)[1]
    assert trimix["seeds"] == [3, 4]
    assert trimix["differences"]["knn"]["n"] == 1 and trimix["differences"]["knn"]["low"] is None


def test_other_data_has_a_table_of_its_own(rows) -> None:
    study = {"rows": rows, "seeds": [3, 4], "reference": "byol", "unit": "epochs", "metric": "top-1"}
    table = markdown_scores(study)
    assert "| trimix | 8 | 60.00 ± 0.00 |  | 10 s | 1.50x |" in table
    assert (
        "### Equal compute (the same forward-backward passes), transfer to x-rays: difference to byol"
        in table
    )
