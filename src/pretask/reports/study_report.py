"""The report of a study of any kind: what it shows, its tables and charts, and how all of it was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pretask.reports import html, study_charts
from pretask.reports.headline import headline, label, reference_name
from pretask.reports.html import Html, tag
from pretask.reports.study_table import TITLES, Summary, measures_of, ranked, study_tables
from pretask.reports.table import Cell, Column, Table
from pretask.reports.words import MEASURES, known, moment, percent, points

MEANINGS = {
    "equal-epochs": "Every method trains for the same number of epochs. One that passes several views of an "
    "image through the network does more work, which the cost says.",
    "equal-steps": "Every method makes the same number of optimisation steps. One that passes more images or views "
    "through the network in a step does more work, which the cost says.",
    "equal-compute": "A method that does less work trains for longer, so that all make the same number of "
    "forward and backward passes.",
}
CLASSES_SHOWN = 20


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
    rows = study["rows"]
    several = len({row["protocol"] for row in rows}) > 1
    measures = [None] if several else measures_of(rows)  # None: the first metric of each protocol
    work = Html()
    if study_charts.costs_differ(rows):
        methods = list(dict.fromkeys(row["method"] for row in rows if row["cost"]))
        drawn = switched(measures, lambda key: study_charts.against_work(study, str(key)))
        work = html.section("Results against work", study_charts.methods_legend(study, methods), drawn)
    return html.page(
        f"{study['name']} · pretask study",
        tag("h1", study["name"]),
        tag("p", _lead(study), class_="lead"),
        *_stamps(study),
        Html() if several else headline(study),
        switch(measures),
        *(
            _budget(study, budget, measures)
            for budget in TITLES
            if any(row["budget"] == budget for row in rows)
        ),
        work,
        _classes(study),
        study_charts.training_curves(study),
        study_charts.task_curves(study),
        _how_measured(study),
    )


def switch(measures: Sequence[str | None]) -> Html:
    """Return the control that chooses a metric; nothing where there is no choice.

    It needs no script: the page's style shows what belongs to the checked one, and the first where a browser cannot.
    """
    if len(measures) < 2:
        return Html()
    buttons = [
        # Without autocomplete a browser that comes back to the page starts from the first again.
        tag(
            "input",
            type="radio",
            name_="measure",
            value=key,
            checked=None if place else "",
            autocomplete="off",
        )
        for place, key in enumerate(measures)
    ]
    options = [
        tag("label", button, MEASURES[str(key)]) for button, key in zip(buttons, measures, strict=True)
    ]
    note = (
        "The sentences above are about top-1, which the study set out to compare. P-values are adjusted for the rows "
        "of one table, not for looking at several metrics."
    )
    legend = tag("legend", "Compare by")
    return tag("fieldset", legend, *options, tag("p", note, class_="caption"), class_="switch")


def switched(measures: Sequence[str | None], show: Callable[[str | None], Html]) -> Html:
    """Return what `show` makes of each metric, of which the control lets one be seen at a time."""
    if len(measures) < 2:
        return html.join(map(show, measures))
    return html.join(tag("div", show(key), class_=f"measure {key}") for key in measures)


def _budget(study: dict[str, Any], budget: str, measures: Sequence[str | None]) -> Html:
    rows = [row for row in study["rows"] if row["budget"] == budget]
    parts = [
        html.join([
            tag("h3", f"Transfer to {data}") if data else "",
            switched(measures, lambda key, data=data: _compared(study, rows, data, key)),  # type: ignore[misc]
        ])
        for data in dict.fromkeys(row["data"] for row in rows)
    ]  # fmt: skip
    return html.section(TITLES[budget], tag("p", MEANINGS[budget]), *parts)


def _compared(study: dict[str, Any], rows: Sequence[Summary], data: str, key: str | None) -> Html:
    """Return the tables and the differences of a budget on one data set, by one metric."""
    own = [row for row in rows if row["data"] == data]
    tables = study_tables(own, study["reference"], study["selection"], key, best_first=True)
    charts = study_charts.differences(study, f"difference {own[0]['budget']} {data}", own, key)
    return html.join([*(table.html() for table in tables), charts])


def _lead(study: dict[str, Any]) -> str:
    """Return the line below the title: data, numbers of methods and seeds, date."""
    methods = _count(len({row["method"] for row in study["rows"]}), "method")
    seeds = _count(len(_seeds(study)), "seed")
    parts = (study["data"]["name"], methods, seeds, moment(study.get("created")))
    return " · ".join(part for part in parts if part)


def _stamps(study: dict[str, Any]) -> list[Html]:
    """Return what a reader must know before any number."""
    stamps = []
    if study["selection"] == "test":
        stamps.append("Epochs were selected on the test set, as was asked for: all values are optimistic.")
    failures = study.get("failures") or []
    if failures:
        stamps.append(f"{_count(len(failures), 'run')} failed and are missing here: {'; '.join(failures)}")
    return [html.notice(stamp) for stamp in stamps]


def _classes(study: dict[str, Any]) -> Html:
    """Return a table of each class's accuracy under the reference, and every other row's difference to it.

    Of the last budget that the study has; classes with the largest change first, those beyond 20 folded away.
    """
    budget = study["rows"][-1]["budget"]
    found = {
        (of["method"], of["inference"]): of["accuracy"]
        for of in study.get("per_class") or ()
        if of["budget"] == budget and of["accuracy"]
    }
    rows = ranked([row for row in study["rows"] if row["budget"] == budget], "top1")
    accuracies = {label(row): of for row in rows if (of := found.get((row["method"], row["inference"])))}
    own = next(
        (label(row) for row in rows if row["method"] == study["reference"] and not row["difference"]), None
    )
    base = accuracies.pop(own or "", None)
    if base is None or not accuracies:
        return Html()
    names = study["data"].get("class_names") or [str(c) for c in range(len(base))]
    changes = {
        name: [a - b if known(a) and known(b) else None for a, b in zip(of, base, strict=True)]
        for name, of in accuracies.items()
    }
    order = sorted(range(len(names)), key=lambda c: -max(abs(of[c] or 0.0) for of in changes.values()))
    columns = (Column("class", words=True), Column(f"{study['reference']} %"), *map(Column, changes))
    body = [
        [
            names[c],
            Cell(percent(base[c]), base[c]),
            *(Cell(points(v), v) if known(v := of[c]) else "" for of in changes.values()),
        ]
        for c in order
    ]
    note = (
        f"Test accuracy of each class under {reference_name(study)}, and differences to it in percentage points, means "
        f"over seeds, at {TITLES[budget].lower()}; the largest change first. Single classes have few images: no "
        "interval is given, and small differences are chance."
    )
    parts = [Table("", columns, body[:CLASSES_SHOWN], note).html()]
    if rest := body[CLASSES_SHOWN:]:
        more = tag("summary", f"the other {len(rest)} classes")
        parts.append(tag("details", more, Table("", columns, rest).html()))
    return html.section("Classes", *parts)


def _how_measured(study: dict[str, Any]) -> Html:
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
