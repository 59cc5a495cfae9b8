"""The report of a study: what it shows, the figures, the curves, and how all of it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretask.reports import curves, gates, html, tasks
from pretask.reports.class_changes import class_changes
from pretask.reports.figures import series_swatch
from pretask.reports.headline import BUDGETS, Row, headline, label, reference_of, rows_of
from pretask.reports.html import Html, tag
from pretask.reports.measures import MEASURES, OWN, measures_of, ranked, switch, switched
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
from pretask.reports.study_table import interval_text, more_figures, study_table
from pretask.reports.words import LOWER_IS_BETTER, SHARES, known, unit


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
    measures = measures_of(study["rows"])
    return html.page(
        f"{study['name']} · pretask study",
        tag("h1", study["name"]),
        tag("p", lead(study), class_="lead"),
        *stamps(study),
        headline(study),
        switch(measures),
        *(_budget(study, budget, measures) for budget in BUDGETS if rows_of(study, budget)),
        _against_work(study, measures),
        class_changes(study),
        training_curves(study),
        _tasks(study, tasks.TITLE, tasks.MEANING, "tasks", tasks.accuracy_chart),
        _tasks(
            study, gates.TITLE, f"{gates.MEANING[0].upper()}{gates.MEANING[1:]}.", "gate", gates.gate_chart
        ),
        how_measured(study),
    )


def _budget(study: dict[str, Any], budget: str, measures: Sequence[str]) -> Html:
    return html.section(
        TITLES[budget],
        tag("p", MEANINGS[budget]),
        switched(measures, lambda key: _compared(study, budget, measures, key)),
        more_figures(rows_of(study, budget), measures),
    )


def _compared(study: dict[str, Any], budget: str, measures: Sequence[str], key: str) -> Html:
    """Return the table of a budget and its differences as a chart, by one figure."""
    rows = ranked(study, budget, key)
    table = study_table(study, rows, measures, key)
    bars = [_bar(row, key) for row in rows if known((row.get("difference") or {}).get("mean"))]
    if not bars:
        return table
    reference, better = reference_of(study), "left" if key in LOWER_IS_BETTER else "right"
    drawn = curves.interval_chart(
        f"difference-{budget}-{key}", bars, what=_name(key), reference=reference, unit=unit(key)
    )
    caption = (
        f"Difference to {reference}, with its {interval_text(study)}; better is to the {better}. One that crosses zero "
        "shows no difference."
    )
    return html.join([table, html.figure(drawn, caption)])


def _name(key: str) -> str:
    return "top-1" if key == OWN else MEASURES[key]


def _bar(row: Row, key: str) -> tuple[str, float, float | None, float | None]:
    difference, scale = row["difference"], _scale(key)
    low, high = (scale * v if known(v) else None for v in (difference.get("low"), difference.get("high")))
    return label(row), scale * difference["mean"], low, high


def _scale(key: str) -> float:
    return 100.0 if key in SHARES else 1.0


def _against_work(study: dict[str, Any], measures: Sequence[str]) -> Html:
    """Return what training cost and what it came to, where rows differ in cost."""
    rows = [row for row in study["rows"] if known(row.get("cost"))]
    if len({row["cost"] for row in rows}) < 2:
        return Html()
    colors = method_colors(study)
    methods = dict.fromkeys(row["method"] for row in rows)
    return html.section(
        "Results against work",
        html.legend((method, series_swatch(colors[method])) for method in methods),
        switched(measures, lambda key: _work_figure(study, rows, key)),
    )


def _work_figure(study: dict[str, Any], rows: Sequence[Row], key: str) -> Html:
    colors, lines = method_colors(study), []
    measured = [row for row in rows if known((row["test"].get(key) or {}).get("mean"))]
    for name in dict.fromkeys(map(label, measured)):
        own = {row["cost"]: row for row in measured if label(row) == name}
        at = sorted(own)
        scores = [own[cost]["test"][key] for cost in at]
        spreads = [score["std"] or 0.0 for score in scores]
        means = [score["mean"] for score in scores]
        low = [mean - std for mean, std in zip(means, spreads, strict=True)]
        high = [mean + std for mean, std in zip(means, spreads, strict=True)]
        lines.append(curves.Line(name, at, means, colors[own[at[0]]["method"]], low, high))
    drawn = curves.work_chart(
        f"work-{key}", lines, reference=reference_of(study), what=f"test {_name(key)}", percent=key in SHARES
    )
    return html.figure(
        drawn,
        f"Test {_name(key)}, mean and standard deviation over seeds; each inference is a mark of its own, which tells "
        "its name. A line joins what the same method reached with more training.",
    )


def _tasks(study: dict[str, Any], title: str, meaning: str, key: str, draw: curves.DrawLines) -> Html:
    """Return charts of what each task had over training, for each budget, where any method has it."""
    charts = {
        budget: tasks.task_charts(f"{key}-{budget}", runs_of(study, budget), key, draw) for budget in BUDGETS
    }
    parts = [html.join([tag("h3", TITLES[budget]), drawn]) for budget, drawn in charts.items() if drawn]
    return html.section(title, tag("p", f"{meaning} {BANDS}"), *parts) if parts else Html()
