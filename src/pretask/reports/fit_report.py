"""The report of a whole job: what was looked at, what was decided, who raced, what came out, where it errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretask.reports import html
from pretask.reports.curves import Line, line_chart
from pretask.reports.figures import series_swatch
from pretask.reports.html import Html
from pretask.reports.table import Cell, Column, Table
from pretask.reports.words import duration


def write_fit_report(path: Path, found: Mapping[str, Any]) -> Path:
    """Write the page of a job; return where it is.

    Args:
        path: of the page.
        found: what `pretask.fitting.fit` returns.
    """
    document = html.render(
        "fit.html",
        title=f"{found['name']} · pretask fit",
        name=found["name"],
        lead=f"{found['winner']} · {duration(found['seconds'])}",
        worth=found["worth"]["words"],
        decisions=found["decisions"],
        race=race_table(found["rounds"]) if found["rounds"] else None,
        charts=_charts(found["rounds"]),
        test=found["test"],
        predict=f"pretask predict {found['folder']} NEW_PICTURES",
        command=found["command"],
        data=found["data"],
        final={
            "winner": found["winner"],
            "epochs": found["final"]["epochs"],
            "time for everything": duration(found["plan"]["seconds"]),
            "time used": duration(found["seconds"]),
        },
    )
    return html.write_page(path, document)


def race_table(rounds: Sequence[Mapping[str, Any]]) -> Table:
    """Return all trials of a race: what each reached on the validation images, and for how long it trained."""
    rows: list[list[str | Cell]] = []
    for number, of_round in enumerate(rounds, 1):
        order = sorted(of_round["found"].items(), key=lambda entry: -entry[1]["top1"])
        for name, of in order:
            failed = "folder" not in of
            shown = "failed" if failed else f"{100 * of['top1']:.1f}"
            pretext = of.get("pretext")
            rows.append(
                [
                    str(number),
                    name,
                    f"{of_round['seconds']:.0f}",
                    "" if failed else f"{of['epochs']}",
                    Cell(shown, of["top1"]),
                    "" if pretext is None else f"{100 * pretext:.0f}",
                ]
            )
    columns = (
        Column("round", key=True),
        Column("candidate", words=True, key=True),
        Column("seconds"),
        Column("epochs", spare=2),
        Column("validation %"),
        Column("pretext %", spare=1),
    )
    note = "Candidates of a round train for the same time; the better half trains anew where another round follows."
    return Table("Race", columns, rows, note)


def _charts(rounds: Sequence[Mapping[str, Any]]) -> list[tuple[Html, str, list[tuple[str, str]]]]:
    """Return a chart of each round: accuracy on the validation images over the seconds of training."""
    charts = []
    for number, of_round in enumerate(rounds, 1):
        lines = [
            Line(name, [at for at, _ in of["curve"]], [top1 for _, top1 in of["curve"]], color)
            for color, (name, of) in enumerate(of_round["found"].items(), 1)
            if of.get("curve")
        ]
        if lines:
            chart = line_chart(
                f"round{number}",
                lines,
                y_label="validation accuracy",
                x_label="second of training",
                percent=True,
            )
            legend = [(line.name, series_swatch(line.color)) for line in lines]
            charts.append((chart, f"Round {number}: {of_round['stage']}", legend))
    return charts
