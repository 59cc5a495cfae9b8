"""The figures of a study that its tables and charts can be about, one at a time: accuracy, calibration, likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pretask.reports.headline import Row, rows_of, verdict
from pretask.reports.html import Html, join, tag
from pretask.reports.words import LOWER_IS_BETTER, known
from pretask.statistics import holm, paired_difference

MEASURES = {
    "top1": "top-1 accuracy",
    "balanced": "balanced accuracy",
    "many": "many-shot accuracy",
    "medium": "medium-shot accuracy",
    "few": "few-shot accuracy",
    "top5": "top-5 accuracy",
    "ece": "calibration error",
    "loss": "negative log-likelihood",
}
"""Keys of a row's "test" and what a person calls them; the first is the study's own question."""
OWN = "top1"
GROUPS = ("many", "medium", "few")


def measures_of(rows: Sequence[Row]) -> list[str]:
    """Return the figures that rows have: without those that say the same as top-1, which is always the first."""
    left_out = set() if _differs_from_top1(rows) else {"balanced"}
    if sum(_measured(key, rows) for key in GROUPS) < 2:  # one group is all classes
        left_out |= set(GROUPS)
    others = [key for key in MEASURES if key != OWN and key not in left_out and _measured(key, rows)]
    return [OWN, *others]


def switch(measures: Sequence[str]) -> Html:
    """Return the control that chooses a figure; nothing where there is no choice.

    It needs no script: the page's style shows what belongs to the checked one, and the first where a browser cannot.
    """
    if len(measures) < 2:
        return Html()
    options = [tag("label", _radio(key), MEASURES[key]) for key in measures]
    note = tag(
        "p",
        "The sentences above are about top-1, which the study set out to compare. P-values are adjusted for the rows "
        "of one table, not for looking at several figures.",
        class_="caption",
    )
    legend = tag("legend", "Compare by")
    return tag("fieldset", legend, *options, note, class_="switch")


def switched(measures: Sequence[str], show: Callable[[str], Html]) -> Html:
    """Return what `show` makes of each figure, of which the control lets one be seen at a time."""
    return join(tag("div", show(key), class_=f"measure {key}") for key in measures)


def _radio(key: str) -> Html:
    checked = "" if key == OWN else None
    # Without autocomplete a browser that comes back to the page starts from top-1 again.
    return tag("input", type="radio", name_="measure", value=key, checked=checked, autocomplete="off")


def ranked(study: dict[str, Any], budget: str, key: str) -> list[Row]:
    """Return the rows of a budget, the best by a figure first and those without it last.

    Each has the difference to the reference in that figure as "difference", with its p-value adjusted for the number
    of rows (Holm).
    """
    rows = rows_of(study, budget)
    if key == OWN:
        return rows
    sign = 1 if key in LOWER_IS_BETTER else -1
    rows = _with_differences(rows, key, study.get("reference", "baseline"), study.get("level", 0.95))
    return sorted(rows, key=lambda row: sign * _mean(row, key) if known(_mean(row, key)) else float("inf"))


def _with_differences(rows: Sequence[Row], key: str, method: str, level: float) -> list[Row]:
    reference = next((row for row in rows if row["method"] == method and not row.get("difference")), None)
    differences = [_difference(row, reference, key, level) for row in rows]
    adjusted = holm([difference["p"] if difference else None for difference in differences])
    return [
        {**row, "difference": difference and {**difference, "adjusted_p": p}}
        for row, difference, p in zip(rows, differences, adjusted, strict=True)
    ]


def _difference(row: Row, reference: Row | None, key: str, level: float) -> dict[str, Any] | None:
    """Return the difference of a row to the reference over the seeds that both have."""
    if reference is None or row is reference:
        return None
    mine, theirs = _by_seed(row, key), _by_seed(reference, key)
    shared = sorted(mine.keys() & theirs.keys())
    if not shared:
        return None
    return vars(paired_difference([mine[s] for s in shared], [theirs[s] for s in shared], level))


def _by_seed(row: Row, key: str) -> dict[Any, float]:
    values = (row["test"].get(key) or {}).get("values") or []
    return {seed: value for seed, value in zip(row["seeds"], values, strict=False) if known(value)}


def _mean(row: Row, key: str) -> Any:
    return (row["test"].get(key) or {}).get("mean")


def _measured(key: str, rows: Sequence[Row]) -> bool:
    return any(known(_mean(row, key)) for row in rows)


def _differs_from_top1(rows: Sequence[Row]) -> bool:
    """With as many test images in every class the balanced accuracy is the top-1 accuracy again."""
    pairs = [(_mean(row, "balanced"), _mean(row, OWN)) for row in rows]
    return any(known(balanced) and abs(balanced - top1) > 5e-5 for balanced, top1 in pairs)


def judged(key: str, difference: dict[str, Any] | None) -> str:
    """Return "up" where a difference shows an improvement in a figure, "down" where a loss, "none" where neither."""
    shown = verdict(difference)
    if key not in LOWER_IS_BETTER or shown == "none":
        return shown
    return "down" if shown == "up" else "up"
