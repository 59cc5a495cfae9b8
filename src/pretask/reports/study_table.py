"""The rows of a study as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretask.reports import html
from pretask.reports.headline import Row, reference_of, verdict
from pretask.reports.html import NOTHING, Html, join, tag
from pretask.reports.words import NAMES, duration, interval, known, number, p_value, points, spread, whole

GROUPS = ("many", "medium", "few")


def study_table(study: dict[str, Any], rows: Sequence[Row]) -> Html:
    """Return the table of a budget, with the less used figures folded away below it."""
    metrics = _main_metrics(rows)
    rest = [key for key in ("top5", *GROUPS, "loss") if key not in metrics and _measured(key, rows)]
    header = ["method", "inference", "top-1 %", "difference", "p (Holm)", *(NAMES[key] for key in metrics)]
    seeds = {len(row["seeds"]) for row in rows}
    table = html.table(
        [
            *header,
            study.get("unit", "epochs"),
            "views",
            "time",
            "cost",
            *(["seeds"] if len(seeds) > 1 else []),
        ],
        [
            _cells(row, metrics, study.get("unit", "epochs"))
            + ([str(len(row["seeds"]))] if len(seeds) > 1 else [])
            for row in rows
        ],
        caption=_caption(study, rows, seeds),
        text_columns=2,
    )
    if not rest:
        return table
    more = html.table(
        ["method", "inference", *(NAMES[key] for key in rest)],
        [
            [row["method"], row["inference"], *(spread(key, row["test"].get(key)) for key in rest)]
            for row in rows
        ],
        text_columns=2,
    )
    return join([table, tag("details", tag("summary", "More figures"), more)])


def interval_text(study: dict[str, Any]) -> str:
    """Return what the study's intervals are called."""
    return f"{100 * study.get('level', 0.95):g}\N{NO-BREAK SPACE}% interval"


def _cells(row: Row, metrics: Sequence[str], unit: str) -> list[str]:
    return [
        row["method"],
        row["inference"],
        spread("top1", row["test"].get("top1")),
        _difference(row),
        p_value(row.get("difference")),
        *(spread(key, row["test"].get(key)) for key in metrics),
        whole(row.get(unit)),
        whole(row.get("views")),
        duration((row.get("seconds") or {}).get("mean")),
        f"{number(row['cost'])} ×" if known(row.get("cost")) else NOTHING,
    ]


def _caption(study: dict[str, Any], rows: Sequence[Row], seeds: set[int]) -> str:
    tests = sum(bool(row.get("difference")) for row in rows)
    over = f" over {seeds.copy().pop()} seeds" if len(seeds) == 1 and seeds != {1} else " over seeds"
    spreads = f"mean ± sample standard deviation{over}" if seeds != {1} else "one seed"
    caption = (
        f"Test figures, {spreads}, highest top-1 first. Difference: top-1 against {reference_of(study)} at "
        f"the same budget, in percentage points, paired by seed, with its {interval_text(study)}"
    )
    caption += f", not adjusted for {tests} comparisons; the p-value is (Holm)." if tests > 1 else "."
    return f"{caption} Cost: training work relative to {reference_of(study)} at equal {study.get('unit', 'epochs')}."


def _main_metrics(rows: Sequence[Row]) -> list[str]:
    """Long-tailed data, of which two groups or more are there, is judged by group; other data overall."""
    groups = [key for key in GROUPS if _measured(key, rows)]
    balanced = ["balanced"] if _differs_from_top1(rows) else []
    return [
        *balanced,
        *(groups if len(groups) > 1 else []),
        *(["ece"] if _measured("ece", rows) else []),
    ]


def _measured(key: str, rows: Sequence[Row]) -> bool:
    return any(known((row["test"].get(key) or {}).get("mean")) for row in rows)


def _differs_from_top1(rows: Sequence[Row]) -> bool:
    """With as many test images in every class the balanced accuracy is the top-1 accuracy again."""
    pairs = [((row["test"].get("balanced") or {}).get("mean"), row["test"]["top1"]["mean"]) for row in rows]
    return any(known(balanced) and abs(balanced - top1) > 5e-5 for balanced, top1 in pairs)


def _difference(row: Row) -> Html:
    difference = row.get("difference")
    if not difference or not known(difference.get("mean")):
        return tag("span", "reference", class_="none")
    return join(
        [
            tag("span", points(difference["mean"]), class_=verdict(difference)),
            f" {interval(difference)}".rstrip(),
        ]
    )
