"""What a study found as tables: its summaries (`pretask.studies.rows.summarise`), by one metric or another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretask.reports.html import tag
from pretask.reports.table import Cell, Column, Table
from pretask.reports.words import (
    LOWER_IS_BETTER,
    MEASURES,
    NAMES,
    change,
    interval,
    known,
    number,
    p_value,
    spread,
    unit,
    whole,
)

Summary = Mapping[str, Any]
LEVEL = 0.05
"""Above this adjusted p-value a difference shows nothing."""
TITLES = {
    "equal-epochs": "Equal epochs",
    "equal-steps": "Equal steps",
    "equal-compute": "Equal compute",
}
GROUPS = ("many", "medium", "few")
_BESIDE = {"balanced": 7, "many": 5, "medium": 5, "few": 5, "ece": 5}
"""Metrics that stand beside the one that a table is about, and how soon they are left out of a narrow terminal."""
_SELECTED = {
    "validation": "; weights of the epoch that was best on validation images",
    "last": "; the last weights",
    "test": "; weights of the epoch that was best on the TEST images, so values are optimistic",
}


def study_tables(
    rows: Sequence[Summary],
    reference: str,
    selection: str = "",
    metric: str | None = None,
    best_first: bool = False,
) -> list[Table]:
    """Return the tables of a study, for each budget and each data set that was judged on.

    Where one protocol judges, its table has a row for each inference, with the difference and its test. Where several
    do, one table has a column for each, and a second one their differences.

    Args:
        rows: summaries.
        reference: the method that others are compared with.
        selection: of weights: "validation", "last" or "test".
        metric: that tables are about; the first of each protocol unless given.
        best_first: whether rows are sorted by it; otherwise they keep their order.
    """
    tables = []
    for budget, data in dict.fromkeys((row["budget"], row["data"]) for row in rows):
        own = [row for row in rows if (row["budget"], row["data"]) == (budget, data)]
        title = f"{TITLES.get(budget, budget)}{', transfer to ' * bool(data)}{data}"
        note = _note(own, reference, selection)
        if len({row["protocol"] for row in own}) == 1:
            key = metric or main_metric(own)
            if best_first:
                own = ranked(own, key)
            tables.append(_by_inference(title, own, reference, key, note, best_first))
        else:
            tables += _by_protocol(title, own, reference, metric, note)
    return tables


def main_metric(rows: Sequence[Summary]) -> str:
    """Return what a protocol compares by: its first metric."""
    return next((metric for row in rows for metric in row["test"]), "top1")


def measures_of(rows: Sequence[Summary]) -> list[str]:
    """Return the metrics that rows have, the main one first, without those that say the same as it."""
    main = main_metric(rows)
    left_out = {main} if _differs(rows, "balanced", main) else {main, "balanced"}
    if sum(_measured(key, rows) for key in GROUPS) < 2:  # one group is all classes
        left_out |= set(GROUPS)
    return [main, *(key for key in MEASURES if key not in left_out and _measured(key, rows))]


def mean_of(row: Summary, key: str) -> Any:
    """Return the mean of a metric over seeds, None without one."""
    return (row["test"].get(key) or {}).get("mean")


def ranked(rows: Sequence[Summary], key: str) -> list[Summary]:
    """Return rows, the best by a metric first and those without it last."""
    sign = 1 if key in LOWER_IS_BETTER else -1
    return sorted(rows, key=lambda row: sign * mean if known(mean := mean_of(row, key)) else float("inf"))


def verdict(difference: Mapping[str, Any] | None, key: str = "top1") -> str:
    """Return "up" where a difference shows an improvement in a metric, "down" where a loss, "none" where neither.

    That is by its interval and, where there are several, by its p-value adjusted for their number. An interval without
    width comes from seeds that agree to the last image: too few to show anything.
    """
    low, high = (difference or {}).get("low"), (difference or {}).get("high")
    if not (known(low) and known(high)) or low == high or low <= 0 <= high:
        return "none"
    adjusted = (difference or {}).get("adjusted_p")
    if known(adjusted) and adjusted >= LEVEL:
        return "none"
    return "up" if (low > 0) != (key in LOWER_IS_BETTER) else "down"


def _differs(rows: Sequence[Summary], key: str, main: str) -> bool:
    """With as many test images in every class the balanced accuracy is the top-1 accuracy again."""
    pairs = [(mean_of(row, key), mean_of(row, main)) for row in rows]
    return any(known(one) and known(other) and abs(one - other) > 5e-5 for one, other in pairs)


def _measured(key: str, rows: Sequence[Summary]) -> bool:
    return any(known(mean_of(row, key)) for row in rows)


def _by_inference(
    title: str, rows: Sequence[Summary], reference: str, key: str, note: str, best_first: bool
) -> Table:
    measures = measures_of(rows)
    beside = [other for other in measures if (other == measures[0] or other in _BESIDE) and other != key]
    counted = len({len(row["seeds"]) for row in rows}) > 1
    columns = (
        Column("method", words=True, key=True),
        Column("inference", words=True, key=True),
        Column(rows[0]["unit"], spare=3),
        Column(NAMES.get(key, key)),
        Column("difference [95 % CI]"),
        Column("p (Holm)", spare=1),
        Column("seeds for 80 %", spare=6),
        *(Column(NAMES.get(other, other), spare=_BESIDE.get(other, 5)) for other in beside),
        Column("time", spare=4),
        Column("cost", spare=2),
        *([Column("seeds")] if counted else []),
    )
    order = f", {'lowest' if key in LOWER_IS_BETTER else 'highest'} first" if best_first else ""
    what = f"{MEASURES.get(key, key)} on test images{order}, {_spreads(rows)}"
    about = f"; difference to {reference} at the same budget{_in(key)}, paired by seed"
    if any(known((row["differences"].get(key) or {}).get("p")) for row in rows):
        about += (
            f", its interval not adjusted for {_comparisons(rows, [key])}; p of its t-test, adjusted for them (Holm); "
            "seeds that would show such a difference in 80 % of studies"
        )
    body = [
        [
            row["method"],
            row["inference"],
            Cell(whole(row["length"]), row["length"]),
            _spread(row, key),
            _difference(row, key, reference),
            _p_value(row["differences"].get(key)),
            _seeds_needed(row["differences"].get(key)),
            *(_spread(row, other) for other in beside),
            *_costs(row),
            *([str(len(row["seeds"]))] if counted else []),
        ]
        for row in rows
    ]
    kept = [
        place
        for place, column in enumerate(columns)
        if not column.spare or any(isinstance(row[place], Cell) or row[place] for row in body)
    ]
    about = about if any(row["differences"].get(key) for row in rows) else ""
    return Table(
        title,
        [columns[place] for place in kept],
        [[row[place] for place in kept] for row in body],
        f"{_capital(what)}{about}{note}",
    )


def _by_protocol(
    title: str, rows: Sequence[Summary], reference: str, metric: str | None, note: str
) -> list[Table]:
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    keys = {
        protocol: metric or main_metric([row for row in rows if row["protocol"] == protocol])
        for protocol in protocols
    }
    methods: dict[str, dict[str, Summary]] = {}
    for row in rows:  # of several inferences the default one, which comes first
        methods.setdefault(row["method"], {}).setdefault(row["protocol"], row)
    one = next(iter(keys.values())) if len(set(keys.values())) == 1 else None
    heads = [Column(name if one else f"{name}, {NAMES.get(key, key)}") for name, key in keys.items()]
    method = Column("method", words=True, key=True)
    any_row = {name: next(iter(found.values())) for name, found in methods.items()}
    scores = [
        [
            name,
            Cell(whole(any_row[name]["length"]), any_row[name]["length"]),
            *(_spread(found[protocol], key) if protocol in found else "" for protocol, key in keys.items()),
            *_costs(any_row[name]),
        ]
        for name, found in methods.items()
    ]
    columns = (
        method,
        Column(rows[0]["unit"], spare=2),
        *heads,
        Column("time", spare=1),
        Column("cost", spare=2),
    )
    what = f"{MEASURES.get(one, one) if one else 'what was judged'} on test images, {_spreads(rows)}"
    tables = [Table(title, columns, scores, f"{_capital(what)}{note}")]
    keys = {
        protocol: key
        for protocol, key in keys.items()
        if any(row["differences"].get(key) for row in rows if row["protocol"] == protocol)
    }
    if keys:
        lines = [
            [
                name,
                *(
                    _difference(found[protocol], key, reference, starred=True) if protocol in found else ""
                    for protocol, key in keys.items()
                ),
            ]
            for name, found in methods.items()
            if name != reference
        ]
        caption = (
            f"differences to {reference} at the same budget{_in(one or '')}, paired by seed, with a 95 % interval "
            f"that is not adjusted for {_comparisons(rows, list(keys.values()))}; * marks those whose p-value, "
            f"adjusted for the number of rows, is below {LEVEL}."
        )
        named = f"{title}: difference to {reference}"
        compared = [head for head, protocol in zip(heads, protocols, strict=True) if protocol in keys]
        tables.append(Table(named, (method, *compared), lines, _capital(caption)))
    return tables


def _note(rows: Sequence[Summary], reference: str, selection: str) -> str:
    """Return the end of what a table says of itself."""
    return f"; cost: work relative to {reference} at equal {rows[0]['unit']}{_SELECTED.get(selection, '')}."


def _in(key: str) -> str:
    return f" in {unit(key)}" if unit(key) else ""


def _spreads(rows: Sequence[Summary]) -> str:
    counts = sorted({len(row["seeds"]) for row in rows})
    if counts == [1]:
        return "one seed"
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"mean ± standard deviation over {seeds} seeds"


def _comparisons(rows: Sequence[Summary], keys: Sequence[str]) -> str:
    count = sum(bool(row["differences"].get(key)) for row in rows for key in dict.fromkeys(keys))
    return f"{count} comparison{'s' * (count != 1)}"


def _spread(row: Summary, key: str) -> Cell:
    return Cell(spread(key, row["test"].get(key)), mean_of(row, key))


def _difference(row: Summary, key: str, reference: str, starred: bool = False) -> Cell:
    difference = row["differences"].get(key)
    if difference is None:
        own = row["method"] == reference and not starred
        return Cell("", markup=tag("span", "reference", class_="none") if own else None)
    adjusted = difference.get("adjusted_p")
    star = " *" if starred and known(adjusted) and adjusted < LEVEL else ""
    text = f"{change(key, difference['mean'])} {interval(difference, key)}".rstrip() + star
    return Cell(text, difference["mean"], verdict(difference, key))


def _p_value(difference: Mapping[str, Any] | None) -> str:
    return p_value(difference) if known((difference or {}).get("adjusted_p")) else ""


def _seeds_needed(difference: Mapping[str, Any] | None) -> str:
    """Return how many seeds would show a difference like this one, or nothing where there is none."""
    if not difference or not difference.get("std"):
        return ""
    needed = difference.get("seeds_needed")
    return "> 1000" if needed is None else str(needed)


def _costs(row: Summary) -> tuple[Cell, Cell]:
    seconds, cost = row["seconds"]["mean"], row["cost"]
    return Cell(f"{seconds:,.0f} s", seconds), Cell(f"{number(cost)}x" if known(cost) else "", cost)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
