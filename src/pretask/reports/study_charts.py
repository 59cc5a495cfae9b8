"""The charts of a study: differences with their intervals, results against work, and what happened in training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from pretask.reports import curves, html
from pretask.reports.figures import series_swatch
from pretask.reports.headline import label, reference_name
from pretask.reports.html import Html, tag
from pretask.reports.study_table import TITLES, Summary, main_metric, mean_of, ranked
from pretask.reports.words import LOWER_IS_BETTER, MEASURES, SHARES, known, unit

VALIDATION = "Accuracy on the {split} split, by each method's default inference."
BANDS = "Lines are means over seeds, bands reach from the lowest seed to the highest."


def differences(study: dict[str, Any], slug: str, rows: Sequence[Summary], metric: str | None) -> Html:
    """Return a chart for each protocol that judged, of the differences to the reference with their intervals.

    Args:
        study: the content of a `study.json`.
        slug: starts those of the charts; see `Chart`.
        rows: of a budget and a data set.
        metric: that the charts are about; the first of each protocol unless given.
    """
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    charts = []
    for protocol in protocols:
        own = [row for row in rows if row["protocol"] == protocol]
        key = metric or main_metric(own)
        called = label if len(protocols) == 1 else itemgetter("method")
        bars = [_bar(called(row), row, key) for row in ranked(own, key) if row["differences"].get(key)]
        if not bars:
            continue
        reference = reference_name(study)
        place = "-".join(re.findall(r"\w+", f"{slug} {protocol} {key}"))
        drawn = curves.interval_chart(place, bars, MEASURES.get(key, key), reference, unit(key))
        better = "left" if key in LOWER_IS_BETTER else "right"
        words = (
            f"Difference to {reference}, with its 95\N{NO-BREAK SPACE}% interval; better is to the {better}. One that "
            "crosses zero shows no difference."
        )
        caption = words if len(protocols) == 1 else f"{protocol}: difference to {reference}."
        charts.append(html.figure(drawn, caption))
    return html.figures(*charts) if len(charts) > 1 else html.join(charts)


def _bar(name: str, row: Summary, key: str) -> tuple[str, float, float | None, float | None]:
    difference, scale = row["differences"][key], 100.0 if key in SHARES else 1.0
    low, high = (scale * v if known(v) else None for v in (difference.get("low"), difference.get("high")))
    return name, scale * difference["mean"], low, high


def costs_differ(rows: Sequence[Summary]) -> bool:
    """Whether there is anything to see in results against work, of one protocol."""
    return (
        len({row["protocol"] for row in rows}) == 1 and len({row["cost"] for row in rows if row["cost"]}) > 1
    )


def against_work(study: dict[str, Any], key: str) -> Html:
    """Return what training cost and what it came to, by a metric, over all budgets."""
    colors, lines = method_colors(study), []
    measured = [row for row in study["rows"] if row["cost"] and known(mean_of(row, key))]
    for name in dict.fromkeys(map(label, measured)):
        own = {row["cost"]: row for row in measured if label(row) == name}
        at = sorted(own)
        scores = [own[cost]["test"][key] for cost in at]
        means = [score["mean"] for score in scores]
        spreads = [score["std"] or 0.0 for score in scores]
        low, high = ([m + sign * s for m, s in zip(means, spreads, strict=True)] for sign in (-1, 1))
        lines.append(curves.Line(name, at, means, colors[own[at[0]]["method"]], low, high))
    what = MEASURES.get(key, key)
    drawn = curves.work_chart(
        f"work-{key}", lines, reference=reference_name(study), what=f"test {what}", percent=key in SHARES
    )
    caption = (
        f"Test {what}, mean and standard deviation over seeds; each inference is a mark of its own, which says "
        "its name. A line joins what the same method reached with more training."
    )
    return html.figure(drawn, caption)


def methods_legend(study: dict[str, Any], methods: Sequence[str]) -> Html:
    """Return methods with their colours."""
    colors = method_colors(study)
    return html.legend((method, series_swatch(colors[method])) for method in methods)


def training_curves(study: dict[str, Any]) -> Html:
    """Return losses and validation metrics over the training, for each budget."""
    parts = [_budget_curves(study, budget) for budget in TITLES]
    return html.section("Training", tag("p", BANDS), *parts) if any(parts) else Html()


def _budget_curves(study: dict[str, Any], budget: str) -> Html:
    runs, colors = _runs_of(study, budget), method_colors(study)
    methods = [method for method in colors if any(run["method"] == method for run in runs)]
    if not methods:
        return Html()
    length = study["unit"].removesuffix("s")
    loss, accuracy = (
        [_line(method, runs, at, key, colors[method]) for method in methods]
        for at, key in (("at", "train_loss"), ("validation_at", "validation_top1"))
    )
    charts = [
        html.figure(
            curves.line_chart(f"loss-{budget}", loss, y_label="training loss", x_label=length),
            "Methods sum different parts into their loss: compare a line with itself, not with another.",
        )
    ]
    if any(line.at for line in accuracy):
        chosen_on = "test" if study["selection"] == "test" else "validation"
        chart = curves.line_chart(
            f"accuracy-{budget}", accuracy, y_label=f"{chosen_on} top-1", x_label=length, percent=True
        )
        charts.append(html.figure(chart, study.get("validation") or VALIDATION.format(split=chosen_on)))
    return html.join([tag("h3", TITLES[budget]), methods_legend(study, methods), html.figures(*charts)])


def task_curves(study: dict[str, Any]) -> Html:
    """Return how well the tasks of the pretexts were learned over training, and what gates did with them."""
    return html.join(_tasks(study, shares) for shares in (curves.TASKS, curves.GATE))


def _tasks(study: dict[str, Any], shares: curves.PerTask) -> Html:
    charts = {budget: shares.charts(f"{shares.key}-{budget}", _runs_of(study, budget)) for budget in TITLES}
    parts = [html.join([tag("h3", TITLES[budget]), drawn]) for budget, drawn in charts.items() if drawn]
    return html.section(shares.title, tag("p", f"{shares.meaning} {BANDS}"), *parts) if parts else Html()


def _runs_of(study: dict[str, Any], budget: str) -> list[dict[str, Any]]:
    """The curves of a budget, those it shares with another among them."""
    return [run for run in study.get("curves") or [] if run["at"] and budget in run["budgets"]]


def _line(method: str, runs: Sequence[dict[str, Any]], at: str, key: str, color: int) -> curves.Line:
    mine = [(run.get(at) or [], run.get(key) or []) for run in runs if run["method"] == method]
    return curves.mean_line(method, mine, color)


def method_colors(study: dict[str, Any]) -> dict[str, int]:
    """Return a colour per method, the same in every chart; the reference is neutral."""
    methods = dict.fromkeys(row["method"] for row in study["rows"])
    others = (method for method in methods if method != study["reference"])
    return {study["reference"]: 0} | {method: color for color, method in enumerate(others, 1)}
