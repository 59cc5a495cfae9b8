"""The rows of a study as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretask.reports import html
from pretask.reports.headline import Row, reference_of
from pretask.reports.html import NOTHING, Html, join, tag
from pretask.reports.measures import GROUPS, MEASURES, OWN, judged
from pretask.reports.words import (
    LOWER_IS_BETTER,
    NAMES,
    change,
    duration,
    interval,
    known,
    number,
    p_value,
    spread,
    unit,
    whole,
)

BESIDE = (OWN, "balanced", *GROUPS, "ece")
"""Figures that stand in every table; the others are folded away below it."""


def study_table(study: dict[str, Any], rows: Sequence[Row], measures: Sequence[str], key: str = OWN) -> Html:
    """Return the table of a budget.

    Args:
        study: the content of a `study.json`.
        rows: of the budget, the best first, with differences in the figure `key`.
        measures: the figures that the study has.
        key: of the figure that the table is about.
    """
    unit_of_length = study.get("unit", "epochs")
    beside = [other for other in measures if other in BESIDE and other != key]
    seeds = {len(row["seeds"]) for row in rows}
    count = ["seeds"] if len(seeds) > 1 else []
    header = [
        "method",
        "inference",
        NAMES[key],
        "difference",
        "p (Holm)",
        *(NAMES[other] for other in beside),
    ]
    return html.table(
        [*header, unit_of_length, "views", "time", "cost", *count],
        [
            [
                row["method"],
                row["inference"],
                spread(key, row["test"].get(key)),
                _difference(row, key),
                p_value(row.get("difference")),
                *(spread(other, row["test"].get(other)) for other in beside),
                whole(row.get(unit_of_length)),
                whole(row.get("views")),
                duration((row.get("seconds") or {}).get("mean")),
                f"{number(row['cost'])} ×" if known(row.get("cost")) else NOTHING,
                *([str(len(row["seeds"]))] if count else []),
            ]
            for row in rows
        ],
        caption=_caption(study, rows, seeds, key),
        text_columns=2,
    )


def more_figures(rows: Sequence[Row], measures: Sequence[str]) -> Html:
    """Return the figures that have no column in the other tables, folded away; nothing where there are none."""
    rest = [key for key in measures if key not in BESIDE]
    if not rest:
        return Html()
    table = html.table(
        ["method", "inference", *(NAMES[key] for key in rest)],
        [
            [row["method"], row["inference"], *(spread(key, row["test"].get(key)) for key in rest)]
            for row in rows
        ],
        text_columns=2,
    )
    return tag("details", tag("summary", "More figures"), table)


def interval_text(study: dict[str, Any]) -> str:
    """Return what the study's intervals are called."""
    return f"{100 * study.get('level', 0.95):g}\N{NO-BREAK SPACE}% interval"


def _caption(study: dict[str, Any], rows: Sequence[Row], seeds: set[int], key: str) -> str:
    tests = sum(bool(row.get("difference")) for row in rows)
    over = f" over {seeds.copy().pop()} seeds" if len(seeds) == 1 and seeds != {1} else " over seeds"
    spreads = f"mean ± sample standard deviation{over}" if seeds != {1} else "one seed"
    name = "top-1" if key == OWN else MEASURES[key]
    first = "lowest" if key in LOWER_IS_BETTER else "highest"
    caption = (
        f"Test figures, {spreads}, {first} {name} first. Difference: {name} against {reference_of(study)} at "
        f"the same budget, in {unit(key)}, paired by seed, with its {interval_text(study)}"
    )
    caption += f", not adjusted for {tests} comparisons; the p-value is (Holm)." if tests > 1 else "."
    return f"{caption} Cost: training work relative to {reference_of(study)} at equal {study.get('unit', 'epochs')}."


def _difference(row: Row, key: str) -> Html:
    difference = row.get("difference")
    if not difference or not known(difference.get("mean")):
        return tag("span", "reference", class_="none")
    shown = tag("span", change(key, difference["mean"]), class_=judged(key, difference))
    return join([shown, f" {interval(difference, key)}".rstrip()])
