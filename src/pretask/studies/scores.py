"""Rows of studies in which every run is judged in several ways: one score for each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pretask.statistics import mean_std
from pretask.studies.plan import Cell, Plan
from pretask.studies.summary import adjust, paired_row
from pretask.studies.variants import Variant


@dataclass(frozen=True)
class Scored:
    """What one run of a study reached and cost.

    Attributes:
        scores: column → share of right answers, in table order.
        seconds: of its training.
        work: images times passes.
        length: how long it trained, in the study's unit.
    """

    scores: dict[str, float]
    seconds: float
    work: float
    length: int


@dataclass(frozen=True)
class Extra:
    """A row beside the plan's variants: what needs no budget, such as random weights.

    Attributes:
        name: in tables.
        runs: by seed.
    """

    name: str
    runs: Mapping[int, Scored] = field(default_factory=dict)


def score_rows(
    plan: Plan, found: Mapping[Cell, Scored], extras: Sequence[Extra] = ()
) -> list[dict[str, Any]]:
    """Return a row for each budget and variant, and for each extra, over the seeds that have scores.

    Differences are to `plan.reference` at the same budget, paired by seed; each column has its own, whose p-values
    are adjusted for the number of rows.
    """
    table = []
    unit = _by_seed(plan, found, plan.equal_length, plan.reference)
    for budget in plan.lengths:
        reference = _by_seed(plan, found, budget, plan.reference)
        for extra in extras:
            table += _rows(extra.name, budget, extra.runs, reference, unit)
        for variant in plan.variants:
            mine = _by_seed(plan, found, budget, variant)
            table += _rows(variant.name, budget, mine, {} if variant == plan.reference else reference, unit)
    for budget in plan.lengths:
        rows = [row for row in table if row["budget"] == budget]
        for column in dict.fromkeys(column for row in rows for column in row["differences"]):
            adjust([row["differences"].get(column) for row in rows])
    return table


def _by_seed(plan: Plan, found: Mapping[Cell, Scored], budget: str, variant: Variant) -> dict[int, Scored]:
    cells = {seed: plan.cell(budget, variant, seed) for seed in plan.seeds}
    return {seed: found[cell] for seed, cell in cells.items() if cell in found}


def _rows(
    name: str,
    budget: str,
    mine: Mapping[int, Scored],
    reference: Mapping[int, Scored],
    unit: Mapping[int, Scored],
) -> list[dict[str, Any]]:
    """Return the row of a method, or nothing where no seed has scores."""
    if not mine:
        return []
    shared = [seed for seed in mine if seed in unit]
    any_run = next(iter(mine.values()))
    return [
        {
            "method": name,
            "budget": budget,
            "length": any_run.length,
            "seeds": list(mine),
            "scores": {column: _spread([run.scores[column] for run in mine.values()]) for column in any_run.scores},
            "differences": {column: _difference(column, mine, reference) for column in any_run.scores},
            "seconds": _spread([run.seconds for run in mine.values()]),
            "cost": mine[shared[0]].work / unit[shared[0]].work if shared else None,
        }
    ]  # fmt: skip


def _spread(values: Sequence[float]) -> dict[str, Any]:
    mean, std = mean_std(values)
    return {"mean": mean, "std": std, "values": list(values)}


def _difference(
    column: str, mine: Mapping[int, Scored], reference: Mapping[int, Scored]
) -> dict[str, Any] | None:
    pairs = [
        (run.scores[column], reference[seed].scores[column])
        for seed, run in mine.items()
        if seed in reference and column in reference[seed].scores
    ]
    if not pairs:
        return None
    own, other = zip(*pairs, strict=True)
    return paired_row(own, other)
