"""What the reports of all studies have in common: budgets, warnings, curves, and how it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretask.reports import curves, html
from pretask.reports.figures import series_swatch
from pretask.reports.headline import BUDGETS
from pretask.reports.html import Html, tag
from pretask.reports.words import moment

TITLES = {
    "equal-epochs": "Equal epochs",
    "equal-steps": "Equal steps",
    "equal-compute": "Equal compute",
}
MEANINGS = {
    "equal-epochs": "Every method trains for the same number of epochs. One that passes several views of an "
    "image through the network does more work, which the cost tells.",
    "equal-steps": "Every method makes the same number of optimisation steps. One that passes more images or views "
    "through the network in a step does more work, which the cost tells.",
    "equal-compute": "A method that does less work trains for longer, so that all make the same number of "
    "forward and backward passes.",
}
VALIDATION = "Accuracy on the {split} split, by each method's default inference."
BANDS = "Lines are means over seeds, bands reach from the lowest seed to the highest."


def lead(study: dict[str, Any]) -> str:
    """Return the line below a study's title: data, numbers of methods and seeds, date."""
    name = (study.get("data") or {}).get("name")
    methods = _count(len({row["method"] for row in study["rows"]}), "method")
    seeds = _count(len(_seeds(study)), "seed")
    return " · ".join(part for part in (name, methods, seeds, moment(study.get("created"))) if part)


def stamps(study: dict[str, Any]) -> list[Html]:
    """Return what a reader must know before any figure."""
    stamps = []
    if study.get("selection") == "test":
        stamps.append("Epochs were selected on the test set, as was asked for: all figures are optimistic.")
    failures = study.get("failures") or []
    if failures:
        stamps.append(f"{_count(len(failures), 'run')} failed and are missing here: {'; '.join(failures)}")
    return [html.notice(stamp) for stamp in stamps]


def training_curves(study: dict[str, Any]) -> Html:
    """Return losses and validation figures over the training, for each budget."""
    colors = method_colors(study)
    parts = [_budget_curves(study, budget, colors) for budget in BUDGETS]
    if not any(parts):
        return Html()
    return html.section("Training", tag("p", BANDS), *parts)


def _budget_curves(study: dict[str, Any], budget: str, colors: dict[str, int]) -> Html:
    runs = runs_of(study, budget)
    methods = [method for method in colors if any(run["method"] == method for run in runs)]
    if not methods:
        return Html()
    unit = study.get("unit", "epochs").removesuffix("s")
    loss = [_line(method, runs, "at", "train_loss", colors) for method in methods]
    accuracy = [_line(method, runs, "validation_at", "validation_top1", colors) for method in methods]
    charts = [
        html.figure(
            curves.line_chart(f"loss-{budget}", loss, y_label="training loss", x_label=unit),
            "Methods sum different parts into their loss: compare a line with itself, not with another.",
        )
    ]
    if any(line.at for line in accuracy):
        chosen_on = "test" if study.get("selection") == "test" else "validation"
        chart = curves.line_chart(
            f"accuracy-{budget}", accuracy, y_label=f"{chosen_on} top-1", x_label=unit, percent=True
        )
        charts.append(html.figure(chart, study.get("validation") or VALIDATION.format(split=chosen_on)))
    named = html.legend((method, series_swatch(colors[method])) for method in methods)
    return html.join([tag("h3", TITLES[budget]), named, html.figures(*charts)])


def runs_of(study: dict[str, Any], budget: str) -> list[dict[str, Any]]:
    """The curves of a budget, those it shares with another among them."""
    return [run for run in study.get("curves") or [] if run["at"] and budget in run["budgets"]]


def _line(
    method: str, runs: Sequence[dict[str, Any]], at: str, key: str, colors: dict[str, int]
) -> curves.Line:
    mine = [(run.get(at) or [], run.get(key) or []) for run in runs if run["method"] == method]
    return curves.mean_line(method, mine, colors[method])


def method_colors(study: dict[str, Any]) -> dict[str, int]:
    """A colour per method, the same in every chart; the reference is neutral."""
    reference = study.get("reference", "baseline")
    methods = dict.fromkeys(row["method"] for row in study["rows"])
    return {reference: 0} | {m: i for i, m in enumerate((m for m in methods if m != reference), 1)}


def how_measured(study: dict[str, Any]) -> Html:
    """Return the command, the protocols and the machine."""
    facts = {
        "created": moment(study.get("created")),
        "seeds": _seeds(study),
        "protocol": study.get("protocol"),
        "fine-tuning": study.get("tuning"),
        "epoch selected on": study.get("selection"),
        "backbone": study.get("backbone"),
        "data": study.get("data"),
    }
    command = html.command(study["command"]) if study.get("command") else Html()
    environment = html.facts(study.get("environment") or {})
    return html.section(
        "How it was measured", command, html.facts(facts), tag("h3", "Environment"), environment
    )


def _seeds(study: dict[str, Any]) -> list[int]:
    return sorted({seed for row in study["rows"] for seed in row["seeds"]})


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
