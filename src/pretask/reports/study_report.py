"""The report of a study: what it shows, the figures, the curves, and how all of it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretask.reports import curves, html
from pretask.reports.figures import series_swatch
from pretask.reports.gates import MEANING, TITLE, gate_charts
from pretask.reports.headline import BUDGETS, Row, headline, label, reference_of, rows_of
from pretask.reports.html import Html, tag
from pretask.reports.study_table import interval_text, study_table
from pretask.reports.words import known

TITLES = {"equal-epochs": "Equal epochs", "equal-compute": "Equal compute"}
MEANINGS = {
    "equal-epochs": "Every method trains for the same number of epochs. One that passes several views of an "
    "image through the network does more work, which the cost tells.",
    "equal-compute": "A method that does less work per image trains for more epochs, so that all make the "
    "same number of forward and backward passes.",
}
BANDS = "Lines are means over seeds, bands reach from the lowest seed to the highest."


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
        tag("p", _lead(study), class_="lead"),
        *_stamps(study),
        headline(study),
        *(_budget(study, budget) for budget in BUDGETS if rows_of(study, budget)),
        _curves(study),
        _gates(study),
        _measured(study),
    )


def _lead(study: dict[str, Any]) -> str:
    name = (study.get("data") or {}).get("name")
    methods = _count(len({row["method"] for row in study["rows"]}), "method")
    seeds = _count(len(_seeds(study)), "seed")
    return " · ".join(part for part in (name, methods, seeds, study.get("created")) if part)


def _stamps(study: dict[str, Any]) -> list[Html]:
    stamps = []
    if study.get("selection") == "test":
        stamps.append("Epochs were selected on the test set, as was asked for: all figures are optimistic.")
    failures = study.get("failures") or []
    if failures:
        stamps.append(f"{_count(len(failures), 'run')} failed and are missing here: {'; '.join(failures)}")
    return [html.notice(stamp) for stamp in stamps]


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


def _curves(study: dict[str, Any]) -> Html:
    colors = _colors(study)
    parts = [_budget_curves(study, budget, colors) for budget in BUDGETS]
    if not any(parts):
        return Html()
    return html.section("Training", tag("p", BANDS), *parts)


def _gates(study: dict[str, Any]) -> Html:
    charts = {budget: gate_charts(f"gate-{budget}", _runs(study, budget)) for budget in BUDGETS}
    parts = [html.join([tag("h3", TITLES[budget]), drawn]) for budget, drawn in charts.items() if drawn]
    if not parts:
        return Html()
    return html.section(TITLE, tag("p", f"{MEANING[0].upper()}{MEANING[1:]}. {BANDS}"), *parts)


def _budget_curves(study: dict[str, Any], budget: str, colors: dict[str, int]) -> Html:
    runs = _runs(study, budget)
    methods = [method for method in colors if any(run["method"] == method for run in runs)]
    if not methods:
        return Html()
    loss = [_line(method, runs, "epochs", "train_loss", colors) for method in methods]
    accuracy = [_line(method, runs, "validation_epochs", "validation_top1", colors) for method in methods]
    charts = [
        html.figure(
            curves.line_chart(f"loss-{budget}", loss, y_label="training loss"),
            "Methods sum different parts into their loss: compare a line with itself, not with another.",
        )
    ]
    if any(line.epochs for line in accuracy):
        chosen_on = "test" if study.get("selection") == "test" else "validation"
        chart = curves.line_chart(f"accuracy-{budget}", accuracy, y_label=f"{chosen_on} top-1", percent=True)
        charts.append(
            html.figure(chart, f"Accuracy on the {chosen_on} split, by each method's default inference.")
        )
    named = html.legend((method, series_swatch(colors[method])) for method in methods)
    return html.join([tag("h3", TITLES[budget]), named, html.figures(*charts)])


def _runs(study: dict[str, Any], budget: str) -> list[dict[str, Any]]:
    """The curves of a budget, with those it shares with the other: runs of as many epochs are made once."""
    lengths = {(row["method"], row.get("epochs")) for row in study["rows"] if row["budget"] == budget}
    return [
        run
        for run in study.get("curves") or []
        if run["epochs"] and (run["budget"] == budget or (run["method"], run["epochs"][-1]) in lengths)
    ]


def _line(
    method: str, runs: Sequence[dict[str, Any]], at: str, key: str, colors: dict[str, int]
) -> curves.Line:
    mine = [(run.get(at) or [], run.get(key) or []) for run in runs if run["method"] == method]
    return curves.mean_line(method, mine, colors[method])


def _colors(study: dict[str, Any]) -> dict[str, int]:
    """A colour per method, the same in every chart; the reference is neutral."""
    reference = study.get("reference", "baseline")
    methods = dict.fromkeys(row["method"] for row in study["rows"])
    return {reference: 0} | {m: i for i, m in enumerate((m for m in methods if m != reference), 1)}


def _measured(study: dict[str, Any]) -> Html:
    facts = {
        "created": study.get("created"),
        "seeds": _seeds(study),
        "protocol": study.get("protocol"),
        "epoch selected on": study.get("selection"),
        "backbone": study.get("backbone"),
        "data": study.get("data"),
    }
    command = tag("pre", study["command"]) if study.get("command") else Html()
    environment = html.facts(study.get("environment") or {})
    return html.section(
        "How it was measured", command, html.facts(facts), tag("h3", "Environment"), environment
    )


def _seeds(study: dict[str, Any]) -> list[int]:
    return sorted({seed for row in study["rows"] for seed in row["seeds"]})


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
