"""A study as a table: in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from pretask.studies.plan import EQUAL_COMPUTE, EQUAL_EPOCHS, EQUAL_STEPS

COLUMNS = (
    "method",
    "inference",
    "length",
    "test accuracy %",
    "difference [95 % CI]",
    "p (Holm)",
    "seeds for 80 %",
    "balanced %",
    "ECE %",
    "time",
    "cost",
)
BUDGET_TITLES = {
    EQUAL_EPOCHS: "Equal epochs",
    EQUAL_STEPS: "Equal steps",
    EQUAL_COMPUTE: "Equal compute (the same forward-backward passes)",
}


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one row's cells as text."""
    test = row["test"]
    return (
        row["method"],
        row["inference"],
        length(row),
        percent(test["top1"]),
        interval(row["difference"]),
        p_value(row["difference"]),
        seeds_text(row["difference"]),
        percent(test["balanced"]),
        percent(test["ece"]),
        f"{row['seconds']['mean']:.0f} s",
        "" if row["cost"] is None else f"{row['cost']:.1f}x",
    )


def length(row: Mapping[str, Any]) -> str:
    """Return how long a row's runs trained."""
    return f"{row['steps']} steps" if "steps" in row else f"{row['epochs']} epochs"


def print_table(study: Mapping[str, Any], console: Console) -> None:
    """Print one table per budget."""
    for budget, rows in by_budget(study).items():
        table = Table(
            title=BUDGET_TITLES[budget],
            title_justify="left",
            title_style="bold",
            caption=_note(study),
            caption_justify="left",
        )
        for name in COLUMNS:
            table.add_column(
                name, justify="left" if name in ("method", "inference") else "right", no_wrap=name == "method"
            )
        for row in rows:
            table.add_row(*cells(row))
        console.print(table)


def markdown_table(study: Mapping[str, Any]) -> str:
    """Return the tables in Markdown, each with its note."""
    parts = []
    for budget, rows in by_budget(study).items():
        lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "---:|" * (len(COLUMNS) - 2)]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
        parts.append(f"### {BUDGET_TITLES[budget]}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts) + f"\n{_note(study)}\n"


def by_budget(study: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows of each budget, in order."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in study["rows"]:
        grouped.setdefault(row["budget"], []).append(row)
    return grouped


def _note(study: Mapping[str, Any]) -> str:
    seeds = study["seeds"]
    warning = (
        " The epoch was selected on the test set: figures are optimistic."
        if study["selection"] == "test"
        else ""
    )
    return (
        f"mean ± standard deviation over {len(seeds)} seed(s); difference to {study['reference']} at the same budget, "
        "paired by seed; p of its t-test, adjusted for the number of rows; seeds that would show such a difference in "
        f"80 % of studies; weights selected on {study['selection']}.{warning}"
    )


def percent(value: Mapping[str, Any]) -> str:
    """Return "mean ± std" in per cent; one seed has no spread."""
    mean = f"{100 * value['mean']:.2f}"
    return mean if value["std"] is None else f"{mean} ± {100 * value['std']:.2f}"


def p_value(difference: Mapping[str, Any] | None) -> str:
    """Return the adjusted p-value, or nothing without one."""
    p = (difference or {}).get("adjusted_p")
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def seeds_text(difference: Mapping[str, Any] | None) -> str:
    """Return how many seeds would show a difference like this one, or nothing where there is none."""
    if not difference or not difference.get("std"):
        return ""
    needed = difference.get("seeds_needed")
    return "> 1000" if needed is None else str(needed)


def interval(difference: Mapping[str, Any] | None) -> str:
    """Return "mean [low, high]" in percentage points, or nothing without a difference."""
    if difference is None:
        return ""
    mean = f"{100 * difference['mean']:+.2f}"
    if difference["low"] is None:
        return mean
    return f"{mean} [{100 * difference['low']:+.2f}, {100 * difference['high']:+.2f}]"
