"""What the runs of a study came to, a row for each number, and what that says of its methods.

`runs.csv` of any study has the same columns, so one function makes means, differences and costs of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from pretask.errors import PretaskError, unknown_name
from pretask.io.documents import csv_text, is_number, read_csv
from pretask.io.files import write_atomically
from pretask.reports.study_table import study_tables
from pretask.reports.table import Column, Table
from pretask.statistics import holm, mean_std, paired_difference
from pretask.studies.plan import Cell, Plan

RUNS = "runs.csv"


@dataclass(frozen=True)
class Row:
    """One number that one run reached: a line of `runs.csv`.

    Attributes:
        budget: "equal-epochs", "equal-steps" or "equal-compute"; a run that two share has rows in both.
        method: its name, with settings of its own.
        inference: how the classifier answers: "single", "aggregated", "distilled", or "features" for a probe of them.
            The first of a method is its default.
        seed: of the run.
        data: what was judged on; empty for the study's own test data.
        protocol: what judged: "accuracy", "few-shot", "knn", "linear", "1 % labels" (fine-tuning), "own head".
        metric: "top1", "balanced", "ece", …; the first of a protocol is what methods are compared by.
        value: shares as such, in [0, 1], not in per cent.
        unit: of the length: "epochs" or "steps".
        length: how long the run trained.
        work_images: images that it passed forwards and backwards.
        seconds: of its training.
    """

    budget: str
    method: str
    inference: str
    seed: int
    data: str
    protocol: str
    metric: str
    value: float
    unit: str
    length: int
    work_images: float
    seconds: float


COLUMNS = tuple(column.name for column in fields(Row))


@dataclass(frozen=True)
class Score:
    """One number of a run; see `Row`."""

    protocol: str
    inference: str
    metric: str
    value: float
    data: str = ""


@dataclass(frozen=True)
class Done:
    """A finished run: its scores in the order of tables, and what it cost; see `Row`."""

    scores: Sequence[Score]
    length: int
    work_images: float
    seconds: float

    @classmethod
    def of(cls, cell: Cell, results: Mapping[str, Any], scores: Iterable[Score]) -> Self:
        """Return the run of a cell, from the content of its `results.json`."""
        return cls(list(scores), cell.length, results["work_images"], results["seconds"])


@dataclass(frozen=True)
class Control:
    """A method without a budget of its own, such as random weights, and its finished runs by seed."""

    name: str
    runs: Mapping[int, Done] = field(default_factory=dict)


def rows_of(plan: Plan, done: Mapping[Cell, Done], controls: Sequence[Control] = ()) -> list[Row]:
    """Return the rows of a study: for each budget its methods, then the controls, which stand in every budget.

    Args:
        plan: of the study.
        done: its cells that have results.
        controls: beside them.
    """
    rows = []
    for budget in plan.lengths:
        methods = {
            variant.name: {
                seed: done[cell] for seed in plan.seeds if (cell := plan.cell(budget, variant, seed)) in done
            }
            for variant in plan.variants
        }
        methods |= {control.name: dict(control.runs) for control in controls}
        rows += [
            Row(
                budget, name, score.inference, seed, score.data, score.protocol, score.metric, score.value,
                plan.unit, run.length, run.work_images, run.seconds,
            )
            for name, runs in methods.items()
            for seed, run in runs.items()
            for score in run.scores
        ]  # fmt: skip
    return rows


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, at once or not at all; floats with all their digits.

    Raises:
        PretaskError: the file cannot be written.
    """
    text = csv_text([COLUMNS, *([str(value) for value in astuple(row)] for row in rows)])
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def read_rows(path: Path) -> list[Row]:
    """Return the rows of the `runs.csv` at `path`.

    Raises:
        PretaskError: it cannot be read, has no rows, misses a column, or has a value that cannot be.
    """
    header, lines = read_csv(path)
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise PretaskError(f"{path} has no column {missing[0]}: a {RUNS} has {', '.join(COLUMNS)}")
    if not lines:
        raise PretaskError(f"{path} has no rows: give the {RUNS} of a study with finished runs")
    return [_row(dict(zip(header, line, strict=True)), f"{path}, row {n}") for n, line in enumerate(lines, 2)]


def _row(cells: Mapping[str, str], where: str) -> Row:
    made: dict[str, Any] = {name: cells[name] for name in COLUMNS}
    kinds = {"seed": int, "length": int, "value": float, "work_images": float, "seconds": float}
    for name, kind in kinds.items():
        try:
            made[name] = kind(cells[name])
        except ValueError:
            made[name] = math.nan
        if not math.isfinite(made[name]):
            what = "whole number" if kind is int else "number"
            raise PretaskError(f"{where}: {name} is {cells[name]!r}, give a {what}")
    return Row(**made)


def tables_of(path: Path, reference: str | None = None, metric: str | None = None) -> list[Table]:
    """Return the tables of a study from its rows; a CSV of other columns is one table as it stands.

    Args:
        path: of a `runs.csv`, or a study's folder.
        reference: see `summarise`.
        metric: see `study_tables`.

    Raises:
        PretaskError: the file cannot be read, see `read_rows`, or has nothing of the reference or the metric.
    """
    path = path / RUNS if path.is_dir() else path
    header, lines = read_csv(path)
    if not {"method", "seed", "metric", "value"} <= {*header}:
        if reference or metric:
            raise PretaskError(f"{path} has no rows of a study: leave out --reference and --metric")
        words = [
            not all(is_number(line[place]) or not line[place] for line in lines)
            for place in range(len(header))
        ]
        columns = [
            Column(name, words=kind, key=not place)
            for place, (name, kind) in enumerate(zip(header, words, strict=True))
        ]
        return [Table("", columns, lines)]
    rows = read_rows(path)
    for kind, given in (("method", reference), ("metric", metric)):
        known = {getattr(row, kind) for row in rows}
        if given is not None and given not in known:
            raise unknown_name(kind, given, known)
    return study_tables(summarise(rows, reference), reference or reference_of(rows), metric=metric)


def reference_of(rows: Sequence[Row]) -> str:
    """Return what others are compared with: the plain baseline where it takes part, else the first method."""
    return next((row.method for row in rows if row.method == "baseline"), rows[0].method)


def summarise(rows: Sequence[Row], reference: str | None = None) -> list[dict[str, Any]]:
    """Return a summary for each budget, method, data, protocol and inference, over the seeds that have it.

    Args:
        rows: of one study.
        reference: the method that others are compared with; `reference_of` the rows unless given.

    Returns:
        {"budget", "method", "inference", "data", "protocol", "unit", "length", "seeds", "work_images", "seconds":
        mean, std and values; "test": the same for each metric that all seeds have; "differences": for each metric
        the paired difference to the reference's default inference at the same budget (see `Difference`), with its
        "adjusted_p" (Holm) over the rows of the same budget, data and protocol, or None where there is none;
        "difference": that of the first metric; "cost": work relative to the reference's at equal length, or None}.
    """
    reference = reference_of(rows) if reference is None else reference
    work = {r.seed: r.work_images for r in rows if (r.budget, r.method) == (rows[0].budget, reference)}
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.budget, row.data, row.protocol, row.method, row.inference), []).append(row)
    defaults: dict[tuple[str, ...], tuple[str, ...]] = {}
    for key in groups:
        if key[3] == reference:
            defaults.setdefault(key[:3], key)
    summaries = {key: _summary(own, work) for key, own in groups.items()}
    for key, summary in summaries.items():
        other = defaults.get(key[:3])
        summary["differences"] = {
            metric: None if other is None or other == key else _difference(summary, summaries[other], metric)
            for metric in summary["test"]
        }
    for question in dict.fromkeys(key[:3] for key in summaries):
        _adjust([summary["differences"] for key, summary in summaries.items() if key[:3] == question])
    for summary in summaries.values():
        summary["difference"] = next(iter(summary["differences"].values()), None)
    return list(summaries.values())


def _summary(rows: Sequence[Row], work: Mapping[int, float]) -> dict[str, Any]:
    first, runs = rows[0], {row.seed: row for row in rows}
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        values.setdefault(row.metric, {})[row.seed] = row.value
    shared = [seed for seed in runs if work.get(seed)]
    return {
        "budget": first.budget,
        "method": first.method,
        "inference": first.inference,
        "data": first.data,
        "protocol": first.protocol,
        "unit": first.unit,
        "length": first.length,
        "seeds": list(runs),
        "test": {
            name: _spread([found[seed] for seed in runs])
            for name, found in values.items()
            if found.keys() == runs.keys()
        },
        "work_images": first.work_images,
        "seconds": _spread([run.seconds for run in runs.values()]),
        "cost": runs[shared[0]].work_images / work[shared[0]] if shared else None,
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    mean, std = mean_std(values)
    return {"mean": mean, "std": std, "values": list(values)}


def _difference(own: Mapping[str, Any], other: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    """Return the paired difference in a metric, in JSON's types."""
    mine, theirs = (
        dict(zip(summary["seeds"], summary["test"].get(metric, {}).get("values", ()), strict=False))
        for summary in (own, other)
    )
    shared = [seed for seed in mine if seed in theirs]
    if not shared:
        return None
    found = asdict(paired_difference([mine[s] for s in shared], [theirs[s] for s in shared]))
    return {**found, "bootstrap": found["bootstrap"] and list(found["bootstrap"])}


def _adjust(differences: Sequence[Mapping[str, dict[str, Any] | None]]) -> None:
    """Give each difference "adjusted_p": its p-value adjusted for the number of differences in its metric (Holm)."""
    for metric in dict.fromkeys(metric for found in differences for metric in found):
        known = [difference for found in differences if (difference := found.get(metric)) is not None]
        for difference, p in zip(known, holm([difference["p"] for difference in known]), strict=True):
            difference["adjusted_p"] = p
