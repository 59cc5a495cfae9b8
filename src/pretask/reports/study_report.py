"""The report of a study: what it shows, the figures, the curves, and how all of it was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretask.reports import curves, gates, html, tasks
from pretask.reports.class_changes import class_changes
from pretask.reports.figures import series_swatch
from pretask.reports.headline import BUDGETS, Row, headline, label, reference_of, rows_of
from pretask.reports.html import Html, tag
from pretask.reports.study_parts import (
    BANDS,
    MEANINGS,
    TITLES,
    how_measured,
    lead,
    method_colors,
    runs_of,
    stamps,
    training_curves,
)
from pretask.reports.study_table import interval_text, study_table
from pretask.reports.words import known


def write_study_report(study: dict[str, Any], path: Path | str) -> Path:
    """Write a study as one HTML file that needs nothing but a browser; return where it is.

    Args:
        study: the content of a `study.json`.
        path: of the file; its folder is made. The file appears whole or not at all.

    Raises:
        PretaskError: the disk is full, or the folder cannot be written.
    """
    return html.write_page(Path(path), study_page(study))


def study_page(study: dict[str, Any]) -> str:
    """Return the HTML document of a study."""
    return html.page(
        f"{study['name']} · pretask study",
        tag("h1", study["name"]),
        tag("p", lead(study), class_="lead"),
        *stamps(study),
        headline(study),
        *(_budget(study, budget) for budget in BUDGETS if rows_of(study, budget)),
        _against_work(study),
        class_changes(study),
        training_curves(study),
        _tasks(study, tasks.TITLE, tasks.MEANING, "tasks", tasks.accuracy_chart),
        _tasks(
            study, gates.TITLE, f"{gates.MEANING[0].upper()}{gates.MEANING[1:]}.", "gate", gates.gate_chart
        ),
        how_measured(study),
    )


def _budget(study: dict[str, Any], budget: str) -> Html:
    rows = rows_of(study, budget)
    compared = [row for row in rows if known((row.get("difference") or {}).get("mean"))]
    body = [tag("p", MEANINGS[budget]), study_table(study, rows)]
    if compared:
        body.append(
            html.figure(
                curves.interval_chart(f"difference-{budget}", [_bar(row) for row in compared]),
                f"Difference to {reference_of(study)}, with its {interval_text(study)}: one that crosses zero "
                "shows no difference.",
            )
        )
    return html.section(TITLES[budget], *body)


def _bar(row: Row) -> tuple[str, float, float | None, float | None]:
    difference = row["difference"]
    low, high = (100 * v if known(v) else None for v in (difference.get("low"), difference.get("high")))
    return label(row), 100 * difference["mean"], low, high


def _against_work(study: dict[str, Any]) -> Html:
    """Return top-1 over what training cost, where rows differ in it."""
    rows = [row for row in study["rows"] if known(row.get("cost")) and known(row["test"]["top1"]["mean"])]
    if len({row["cost"] for row in rows}) < 2:
        return Html()
    colors, lines = method_colors(study), []
    for name in dict.fromkeys(map(label, rows)):
        own = {row["cost"]: row for row in rows if label(row) == name}
        at = sorted(own)
        scores = [own[cost]["test"]["top1"] for cost in at]
        spreads = [score["std"] or 0.0 for score in scores]
        means = [score["mean"] for score in scores]
        low = [mean - std for mean, std in zip(means, spreads, strict=True)]
        high = [mean + std for mean, std in zip(means, spreads, strict=True)]
        lines.append(curves.Line(name, at, means, colors[own[at[0]]["method"]], low, high))
    methods = dict.fromkeys(row["method"] for row in rows)
    drawn = curves.work_chart("work", lines, reference=reference_of(study))
    return html.section(
        "Accuracy against work",
        html.legend((method, series_swatch(colors[method])) for method in methods),
        html.figure(
            drawn,
            "Test top-1, mean and standard deviation over seeds; each inference is a mark of its own, which tells its "
            "name. A line joins what the same method reached with more training.",
        ),
    )


def _tasks(study: dict[str, Any], title: str, meaning: str, key: str, draw: curves.DrawLines) -> Html:
    """Return charts of what each task had over training, for each budget, where any method has it."""
    charts = {
        budget: tasks.task_charts(f"{key}-{budget}", runs_of(study, budget), key, draw) for budget in BUDGETS
    }
    parts = [html.join([tag("h3", TITLES[budget]), drawn]) for budget, drawn in charts.items() if drawn]
    return html.section(title, tag("p", f"{meaning} {BANDS}"), *parts) if parts else Html()
