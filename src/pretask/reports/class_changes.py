"""Which classes a method helps, and which it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretask.reports import html
from pretask.reports.headline import BUDGETS, Row, label, reference_of, rows_of
from pretask.reports.html import NOTHING, Html, tag
from pretask.reports.words import known, percent, points

SHOWN = 20


def class_changes(study: dict[str, Any]) -> Html:
    """Return a table of each class's accuracy under the reference, and every other row's difference to it.

    Of the last budget that the study has; classes with the largest change first, those beyond 20 folded away.
    """
    budget = next((budget for budget in reversed(BUDGETS) if rows_of(study, budget)), "")
    rows = [row for row in rows_of(study, budget) if row.get("per_class")]
    own = next((row for row in rows if not row.get("difference")), None)
    others = [row for row in rows if row is not own]
    if own is None or not others:
        return Html()
    names = (study.get("data") or {}).get("class_names") or [str(c) for c in range(len(own["per_class"]))]
    order = sorted(range(len(names)), key=lambda c: -max(abs(_change(row, own, c) or 0.0) for row in others))
    cells = [_cells(c, names[c], own, others) for c in order]
    header = ["class", f"{own['method']} %", *(label(row) for row in others)]
    caption = (
        f"Test accuracy of each class under {reference_of(study)}, and differences to it in percentage points, means "
        f"over seeds, {BUDGETS[budget].lower()}; the largest change first. Single classes have few images: no interval "
        "is given, and small differences are chance."
    )
    parts = [html.table(header, cells[:SHOWN], caption=caption)]
    if rest := cells[SHOWN:]:
        more = tag("summary", f"the other {len(rest)} classes")
        parts.append(tag("details", more, html.table(header, rest)))
    return html.section("Classes", *parts)


def _cells(c: int, name: str, own: Row, others: Sequence[Row]) -> list[str]:
    changes = [_change(row, own, c) for row in others]
    return [
        name,
        percent(own["per_class"][c]),
        *(points(change) if known(change) else NOTHING for change in changes),
    ]


def _change(row: Row, own: Row, c: int) -> float | None:
    mine, theirs = row["per_class"][c], own["per_class"][c]
    return mine - theirs if known(mine) and known(theirs) else None
