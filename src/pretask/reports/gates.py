"""What gates did: the share of the pretexts' total weight that each task had, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretask.reports.curves import Line, line_chart
from pretask.reports.html import Html

TITLE = "Gate weights over training"
MEANING = "each task's share of the total weight of the pretexts; the thin line is an even share"
_KEY = "gate_"


def gate_weights(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return each task's weight by epoch from the lines of a `metrics.jsonl`; nothing for methods without a gate."""
    logs = [record.get("train") or {} for record in records]
    keys = dict.fromkeys(key for log in logs for key in log if key.startswith(_KEY))
    return {key.removeprefix(_KEY): [log.get(key) for log in logs] for key in keys}


def gate_chart(slug: str, lines: Sequence[Line]) -> Html:
    """Return the weights of the tasks, a line each, from 0 to 100 %; a screen reader hears where they went."""
    return line_chart(
        slug,
        lines,
        y_label="gate weight",
        percent=True,
        limits=(0, 1),
        level=1 / len(lines),
        description=f"{TITLE}: {', '.join(_course(line) for line in lines)}",
    )


def _course(line: Line) -> str:
    told = [f"{100 * value:.0f} %" for value in line.values]
    return f"{line.name} {' to '.join(dict.fromkeys((told[0], told[-1])))}" if told else line.name
