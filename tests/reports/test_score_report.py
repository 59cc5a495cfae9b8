"""The report of a study whose runs are judged in several ways."""

from __future__ import annotations

from pretask.reports.score_report import columns_by_data, score_page, write_score_report

UP = {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 2}
NONE = {"mean": -0.01, "low": -0.05, "high": 0.03, "n": 2}


def row(method: str, knn: float, differences: dict, budget: str = "equal-epochs") -> dict:
    spread = {"mean": knn, "std": 0.01, "values": [knn - 0.01, knn + 0.01]}
    return {
        "method": method, "budget": budget, "length": 8, "seeds": [3, 4],
        "scores": {"knn": spread, "1 % labels": spread, "knn, x-rays": spread},
        "differences": differences, "seconds": {"mean": 10.0}, "cost": 1.5,
    }  # fmt: skip


def study(**more: object) -> dict:
    differences = {"knn": UP, "1 % labels": NONE, "knn, x-rays": None}
    rows = [row("byol", 0.5, dict.fromkeys(differences)), row("trimix", 0.6, differences)]
    return {
        "name": "made-up", "rows": rows, "seeds": [3, 4], "reference": "byol", "unit": "epochs", "metric": "top-1",
        "selection": "last", "curves": [], "protocol": {"knn": "knn/1: as it is"}, **more,
    }  # fmt: skip


def test_columns_are_grouped_by_data() -> None:
    assert columns_by_data(study()["rows"]) == {"": ["knn", "1 % labels"], "x-rays": ["knn, x-rays"]}


def test_the_page_has_a_table_per_data_set_and_a_chart_per_column(read_page, tmp_path) -> None:
    page = write_score_report(study(), tmp_path / "deep" / "report.html").read_text()
    text = read_page(page)
    for expected in (
        "Transfer to x-rays",
        "60.00 ± 1.00",
        "not adjusted for 2 comparisons",
        "knn/1: as it is",
    ):
        assert expected in text
    assert "+10.00 [+5.00, +15.00]" in text
    assert page.count("<figure>") == 2, "a column without differences has no chart"
    assert page.count('class="up"') == 1


def test_failed_runs_are_told(read_page) -> None:
    assert "1 run failed and are missing here" in read_page(score_page(study(failures=["byol-seed3: NaN"])))
