"""The rows of `scores` as a table: in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from pretask.reports.headline import LEVEL
from pretask.reports.score_report import columns_by_data
from pretask.studies.table import BUDGET_TITLES, by_budget, interval, percent


def print_scores(study: Mapping[str, Any], console: Console) -> None:
    """Print a table of scores and one of differences for each budget."""
    for title, header, body in _tables(study):
        table = Table(title=title, title_justify="left", title_style="bold")
        for place, name in enumerate(header):
            table.add_column(name, justify="right" if place else "left", no_wrap=not place)
        for line in body:
            table.add_row(*line)
        console.print(table)
    console.print(note(study), highlight=False)


def markdown_scores(study: Mapping[str, Any]) -> str:
    """Return the same tables in Markdown, and what they say of themselves."""
    parts = []
    for title, header, body in _tables(study):
        lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
        lines += ["| " + " | ".join(line) + " |" for line in body]
        parts.append(f"### {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts) + f"\n{note(study)}\n"


def note(study: Mapping[str, Any]) -> str:
    """Return how the figures of a study are to be read."""
    return (
        f"{study['metric']} in %, mean ± standard deviation over {len(study['seeds'])} seed(s); differences to "
        f"{study['reference']} at the same budget, paired by seed, with a 95 % interval that is not adjusted for "
        "the number of comparisons; * marks those whose p-value, adjusted for the number of rows, is below 0.05."
    )


def _tables(study: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, header and lines of each table."""
    tables = []
    for budget, rows in by_budget(study).items():
        compared = [row for row in rows if any(row["differences"].values())]
        for group, columns in columns_by_data(rows).items():
            title = f"{BUDGET_TITLES[budget]}{', transfer to ' * bool(group)}{group}"
            names = [column.partition(", ")[0] for column in columns]
            header = ["method", study["unit"], *names, "time", "cost"]
            tables.append((title, header, [_scores(row, columns) for row in rows]))
            if compared:
                lines = [_differences(row, columns) for row in compared]
                tables.append((f"{title}: difference to {study['reference']}", ["method", *names], lines))
    return tables


def _scores(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    return [
        row["method"],
        str(row["length"]),
        *(percent(row["scores"][name]) if name in row["scores"] else "" for name in columns),
        f"{row['seconds']['mean']:.0f} s",
        "" if row["cost"] is None else f"{row['cost']:.2f}x",
    ]


def _differences(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    return [row["method"], *(_starred(row["differences"].get(name)) for name in columns)]


def _starred(difference: Mapping[str, Any] | None) -> str:
    p = (difference or {}).get("adjusted_p")
    return f"{interval(difference)}{' *' * (p is not None and p < LEVEL)}"
