"""The report of a study whose runs are judged in several ways: a table per budget, a chart per column."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretask.reports import curves, html
from pretask.reports.headline import BUDGETS, verdict
from pretask.reports.html import NOTHING, Html, tag
from pretask.reports.study_parts import MEANINGS, TITLES, how_measured, lead, stamps, training_curves
from pretask.reports.words import duration, interval, known, number, points, spread, whole

Row = dict[str, Any]


def write_score_report(study: dict[str, Any], path: Path | str) -> Path:
    """Write such a study as one HTML file that needs nothing but a browser; return where it is.

    Args:
        study: the content of a `study.json`, with "scores" in its rows.
        path: of the file; its folder is made. The file appears whole or not at all.

    Raises:
        PretaskError: the disk is full, or the folder cannot be written.
    """
    return html.write_page(Path(path), score_page(study))


def score_page(study: dict[str, Any]) -> str:
    """Return the HTML document of such a study."""
    by_budget = {budget: [row for row in study["rows"] if row["budget"] == budget] for budget in BUDGETS}
    return html.page(
        f"{study['name']} · pretask study",
        tag("h1", study["name"]),
        tag("p", lead(study), class_="lead"),
        *stamps(study),
        *(_budget(study, budget, rows) for budget, rows in by_budget.items() if rows),
        training_curves(study),
        how_measured(study),
    )


def _budget(study: dict[str, Any], budget: str, rows: Sequence[Row]) -> Html:
    compared = [row for row in rows if any(row["differences"].values())]
    parts = [tag("p", MEANINGS[budget])]
    for group, columns in columns_by_data(rows).items():
        if group:
            parts.append(tag("h3", f"Transfer to {group}"))
        parts.append(_scores(study, rows, columns))
        if compared:
            parts.append(_differences(study, compared, columns))
            charts = [_chart(study, budget, compared, column) for column in columns]
            parts.append(html.figures(*(chart for chart in charts if chart)))
    return html.section(TITLES[budget], *parts)


def columns_by_data(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the columns of all rows in the order in which they come up, by the data set that they are about.

    The study's own data is ""; a column of other data ends in ", NAME".
    """
    groups: dict[str, list[str]] = {}
    for column in dict.fromkeys(column for row in rows for column in row["scores"]):
        groups.setdefault(column.partition(", ")[2], []).append(column)
    return groups


def _names(columns: Sequence[str]) -> list[str]:
    return [column.partition(", ")[0] for column in columns]


def _scores(study: dict[str, Any], rows: Sequence[Row], columns: Sequence[str]) -> Html:
    counted = len(study["seeds"])
    spreads = f"mean ± sample standard deviation over {counted} seeds" if counted > 1 else "one seed"
    return html.table(
        ["method", *_names(columns), study["unit"], "time", "cost"],
        [
            [
                row["method"],
                *(spread("top1", row["scores"].get(column)) for column in columns),
                whole(row["length"]),
                duration(row["seconds"]["mean"]),
                f"{number(row['cost'])} ×" if known(row["cost"]) else NOTHING,
            ]
            for row in rows
        ],
        caption=f"Test {study['metric']} in %, {spreads}. Cost: training work relative to {study['reference']} "
        f"at equal {study['unit']}.",
    )


def _differences(study: dict[str, Any], rows: Sequence[Row], columns: Sequence[str]) -> Html:
    tests = sum(bool(difference) for row in rows for difference in row["differences"].values())
    return html.table(
        ["method", *_names(columns)],
        [
            [row["method"], *(_difference(row["differences"].get(column)) for column in columns)]
            for row in rows
        ],
        caption=f"Difference to {study['reference']} at the same budget in percentage points, paired by seed, with its "
        f"95 % interval, not adjusted for {tests} comparisons.",
    )


def _difference(difference: dict[str, Any] | None) -> Html:
    if not difference:
        return tag("span", NOTHING)
    return html.join(
        [
            tag("span", points(difference["mean"]), class_=verdict(difference)),
            f" {interval(difference)}".rstrip(),
        ]
    )


def _chart(study: dict[str, Any], budget: str, rows: Sequence[Row], column: str) -> Html:
    bars = []
    for row in rows:
        difference = row["differences"].get(column)
        if difference:
            low, high = (100 * v if known(v) else None for v in (difference["low"], difference["high"]))
            bars.append((row["method"], 100 * difference["mean"], low, high))
    if not bars:
        return Html()
    slug = re.sub(r"\W+", "-", column)
    chart = curves.interval_chart(f"difference-{budget}-{slug}", bars, study["metric"], study["reference"])
    return html.figure(chart, f"{column}: difference to {study['reference']}.")
