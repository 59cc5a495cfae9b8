"""What a study shows in a sentence per budget, and not a word more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretask.reports.html import Html, join, tag
from pretask.reports.words import interval, known, number, points
from pretask.statistics import paired_difference

Row = dict[str, Any]
LEVEL = 0.05
"""Above this adjusted p-value a difference shows nothing."""
BUDGETS = {
    "equal-epochs": "At equal epochs",
    "equal-steps": "At equal steps",
    "equal-compute": "At equal compute",
}


def headline(study: dict[str, Any]) -> Html:
    """Return a paragraph per budget: who beat the reference in top-1, by how much, and how sure that is."""
    level = study.get("level", 0.95)
    other = reference_of(study)
    told = [_sentence(words, rows_of(study, budget), other, level) for budget, words in BUDGETS.items()]
    return tag("div", *(tag("p", sentence) for sentence in told if sentence), class_="headline")


def rows_of(study: dict[str, Any], budget: str) -> list[Row]:
    """Return the rows of a budget, the highest mean top-1 first and those without one last."""
    return sorted((row for row in study["rows"] if row["budget"] == budget), key=lambda row: -_top1(row))


def label(row: Row) -> str:
    """Return "method (inference)"."""
    return f"{row['method']} ({row['inference']})"


def reference_of(study: dict[str, Any]) -> str:
    """Return the method that the others are compared to, as a person would say it."""
    name = study.get("reference", "baseline")
    return "the baseline" if name == "baseline" else str(name)


def verdict(difference: dict[str, Any] | None) -> str:
    """Return "up", "down" or "none": what a difference shows, by its interval and, where there are several, by its
    p-value adjusted for their number.

    An interval without width comes from seeds that agree to the last image: too few to show anything.
    """
    low, high = (difference or {}).get("low"), (difference or {}).get("high")
    if not (known(low) and known(high)) or low == high or low <= 0 <= high:
        return "none"
    adjusted = (difference or {}).get("adjusted_p")
    if known(adjusted) and adjusted >= LEVEL:
        return "none"
    return "up" if low > 0 else "down"


def _sentence(words: str, rows: Sequence[Row], reference: str, level: float) -> Html:
    others = [row for row in rows if row.get("difference") and known(_top1(row))]
    if not others:
        return Html()
    best = others[0]
    difference = best["difference"]
    amount = f"{points(abs(difference['mean'])).removeprefix('+')} points"
    if not interval(difference):
        return join(
            [
                f"{words}, nothing can be said beyond one seed: ",
                _named(best),
                f" reached {number(100 * _top1(best))} % top-1, {points(difference['mean'])} points from "
                f"{reference}. Run more seeds for an interval.",
            ]
        )
    where = f" {interval(difference)}, {100 * level:g} % interval over {difference['n']} seeds"
    shown = verdict(difference)
    if shown == "up":
        start = [f"{words}, ", _named(best), f" beat {reference} by {amount} of top-1{where}."]
        return join([*start, _lead(best, others, level)])
    if shown == "down":
        return join(
            [
                f"{words}, no method was shown to beat {reference}: the nearest, ",
                _named(best),
                f", lost {amount}{where}.",
            ]
        )
    start = [f"{words}, no difference shown: the highest, ", _named(best)]
    start.append(f", is {points(difference['mean'])} points of top-1 from {reference}{where}.")
    return join([*start, _also_above(others[1:])])


def _lead(best: Row, others: Sequence[Row], level: float) -> str:
    """What is known about the best method against the next one, pairing the seeds both have."""
    rival = next((row for row in others if row["method"] != best["method"]), None)
    if rival is None:
        return ""
    mine, theirs = _by_seed(best), _by_seed(rival)
    shared = sorted(mine.keys() & theirs.keys())
    if len(shared) < 2:
        return ""
    lead = paired_difference([mine[s] for s in shared], [theirs[s] for s in shared], level)
    found = {"low": lead.low, "high": lead.high, "mean": lead.mean}
    against = f" the next method, {label(rival)}"
    if verdict(found) == "up":
        return f" It was also ahead of{against}, by {points(lead.mean)} {interval(found)}."
    return f" No difference shown to{against}: {points(lead.mean)} {interval(found)}."


def _also_above(rows: Sequence[Row]) -> str:
    above = [
        f"{label(row)} {interval(row['difference'])}" for row in rows if verdict(row["difference"]) == "up"
    ]
    return f" Above it with their interval: {'; '.join(above)}." if above else ""


def _by_seed(row: Row) -> dict[Any, float]:
    values = row["test"]["top1"].get("values") or []
    return {seed: value for seed, value in zip(row["seeds"], values, strict=False) if known(value)}


def _top1(row: Row) -> float:
    mean = (row.get("test", {}).get("top1") or {}).get("mean")
    return mean if known(mean) else float("-inf")


def _named(row: Row) -> Html:
    return join([tag("b", row["method"]), f" ({row['inference']})"])
