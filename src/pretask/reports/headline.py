"""What a study shows in a sentence per budget, and not a word more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretask.reports.html import Html, join, tag
from pretask.reports.study_table import Summary, ranked, verdict
from pretask.reports.words import interval, number, points
from pretask.statistics import paired_difference

BUDGETS = {
    "equal-epochs": "At equal epochs",
    "equal-steps": "At equal steps",
    "equal-compute": "At equal compute",
}


def headline(study: dict[str, Any]) -> Html:
    """Return a paragraph per budget: who beat the reference in top-1, by how much, and how sure that is."""
    other = reference_name(study)
    found = [
        _sentence(words, [row for row in study["rows"] if row["budget"] == budget], other)
        for budget, words in BUDGETS.items()
    ]
    return tag("div", *(tag("p", sentence) for sentence in found if sentence), class_="headline")


def label(row: Summary) -> str:
    """Return "method (inference)"."""
    return f"{row['method']} ({row['inference']})"


def reference_name(study: Mapping[str, Any]) -> str:
    """Return the method that the others are compared to, as a person would say it."""
    name = study.get("reference", "baseline")
    return "the baseline" if name == "baseline" else str(name)


def _sentence(words: str, rows: Sequence[Summary], reference: str) -> Html:
    others = [row for row in ranked(rows, "top1") if row["difference"] and "top1" in row["test"]]
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
                f" reached {number(100 * best['test']['top1']['mean'])} % top-1, {points(difference['mean'])} points "
                f"from {reference}. Run more seeds for an interval.",
            ]
        )
    where = f" {interval(difference)}, 95 % interval over {difference['n']} seeds"
    shown = verdict(difference)
    if shown == "up":
        start = [f"{words}, ", _named(best), f" beat {reference} by {amount} of top-1{where}."]
        return join([*start, _lead(best, others)])
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


def _lead(best: Summary, others: Sequence[Summary]) -> str:
    """What is known about the best method against the next one, pairing the seeds both have."""
    rival = next((row for row in others if row["method"] != best["method"]), None)
    if rival is None:
        return ""
    mine, theirs = (
        dict(zip(row["seeds"], row["test"]["top1"]["values"], strict=True)) for row in (best, rival)
    )
    shared = sorted(mine.keys() & theirs.keys())
    if len(shared) < 2:
        return ""
    lead = paired_difference([mine[s] for s in shared], [theirs[s] for s in shared])
    found = {"low": lead.low, "high": lead.high, "mean": lead.mean}
    against = f" the next method, {label(rival)}"
    if verdict(found) == "up":
        return f" It was also ahead of{against}, by {points(lead.mean)} {interval(found)}."
    return f" No difference shown to{against}: {points(lead.mean)} {interval(found)}."


def _also_above(rows: Sequence[Summary]) -> str:
    above = [
        f"{label(row)} {interval(row['difference'])}" for row in rows if verdict(row["difference"]) == "up"
    ]
    return f" Above it with their interval: {'; '.join(above)}." if above else ""


def _named(row: Summary) -> Html:
    return join([tag("b", row["method"]), f" ({row['inference']})"])
