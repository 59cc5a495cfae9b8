"""From the results of runs to the rows of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pretask.reports.gates import gate_weights
from pretask.reports.tasks import task_accuracies
from pretask.statistics import holm, mean_std, paired_difference
from pretask.studies.plan import Cell, Plan

METRICS = ("top1", "top5", "balanced", "many", "medium", "few", "ece", "loss")
Results = Mapping[Cell, Mapping[str, Any]]


def rows(plan: Plan, results: Results) -> list[dict[str, Any]]:
    """Return a row for each budget, method and inference, over the seeds that have results.

    Differences are paired by seed: the same seed has the same splits for every method. The reference is the default
    inference of `plan.reference` at the same budget.
    """
    table = []
    for budget in plan.lengths:
        for variant in plan.variants:
            done = [c for s in plan.seeds if (c := plan.cell(budget, variant, s)) in results]
            names = list(results[done[0]]["inferences"]) if done else []
            table += [_row(plan, budget, done, name, results) for name in names]
    for budget in plan.lengths:
        adjust([row["difference"] for row in table if row["budget"] == budget])
    return table


def paired_row(own: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Return the paired difference as a row has it, in JSON's types; see `paired_difference`."""
    found = asdict(paired_difference(own, other))
    return {**found, "bootstrap": found["bootstrap"] and list(found["bootstrap"])}


def adjust(differences: Sequence[dict[str, Any] | None]) -> None:
    """Give each difference "adjusted_p": its p-value adjusted for the number of differences (Holm)."""
    known = [difference for difference in differences if difference is not None]
    for difference, p in zip(known, holm([difference["p"] for difference in known]), strict=True):
        difference["adjusted_p"] = p


def _row(plan: Plan, budget: str, cells: Sequence[Cell], inference: str, results: Results) -> dict[str, Any]:
    tests = [results[cell]["inferences"][inference]["selected"]["test"] for cell in cells]
    return {
        "method": cells[0].method,
        "inference": inference,
        "budget": budget,
        plan.unit: cells[0].length,
        "views": results[cells[0]]["views"],
        "seeds": [cell.seed for cell in cells],
        "test": {name: _spread([t[name] for t in tests]) for name in METRICS if _known(tests, name)},
        "last_top1": _spread([results[c]["inferences"][inference]["last"]["test"]["top1"] for c in cells]),
        "per_class": _per_class(tests),
        "difference": _difference(plan, budget, cells, inference, results),
        "seconds": _spread([results[c]["seconds"] for c in cells]),
        "work_images": results[cells[0]]["work_images"],
        "cost": _cost(plan, cells[0], results),
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    mean, std = mean_std(values)
    return {"mean": mean, "std": std, "values": list(values)}


def _per_class(tests: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Return each class's accuracy, its mean over seeds; None where a seed has no image of it."""
    by_class = zip(*(test.get("per_class") or () for test in tests), strict=True)
    return [None if None in values else sum(values) / len(values) for values in by_class]


def _known(tests: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(test.get(name) is not None for test in tests)


def _difference(
    plan: Plan, budget: str, cells: Sequence[Cell], inference: str, results: Results
) -> dict[str, Any] | None:
    pairs = []
    for cell in cells:
        reference = plan.cell(budget, plan.reference, cell.seed)
        if reference not in results:
            continue
        default = results[reference]["default_inference"]
        if (reference, default) == (cell, inference):
            return None
        pairs.append((_top1(results, cell, inference), _top1(results, reference, default)))
    if not pairs:
        return None
    own, other = zip(*pairs, strict=True)
    return paired_row(own, other)


def _top1(results: Results, cell: Cell, inference: str) -> float:
    return float(results[cell]["inferences"][inference]["selected"]["test"]["top1"])


def _cost(plan: Plan, cell: Cell, results: Results) -> float | None:
    """Forward-backward work relative to the reference method's at equal length."""
    reference = plan.cell(plan.equal_length, plan.reference, cell.seed)
    if reference not in results:
        return None
    return float(results[cell]["work_images"] / results[reference]["work_images"])


def curve(cell: Cell, records: Sequence[Mapping[str, Any]], budgets: Sequence[str]) -> dict[str, Any]:
    """Return the training curves of one run, over epochs or steps as the cell's length is counted.

    "gate" has each task's weights, where the method has a gate, "tasks" the accuracies of auxiliary heads; "budgets"
    are those that the run belongs to.
    """
    validated = [r for r in records if r.get("validation")]
    at = cell.unit.removesuffix("s")
    gate, tasks = gate_weights(records), task_accuracies(records)
    return {
        "method": cell.method,
        "seed": cell.seed,
        "budgets": list(budgets),
        "at": [r[at] for r in records],
        "train_loss": [r["train"]["loss"] for r in records],
        "train_accuracy": [r["train"].get("accuracy") for r in records],
        "validation_at": [r[at] for r in validated],
        "validation_top1": [next(iter(r["validation"].values()))["top1"] for r in validated],
        **({"gate": gate} if gate else {}),
        **({"tasks": tasks} if tasks else {}),
    }
