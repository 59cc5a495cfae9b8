"""What gates did: the share of the pretexts' total weight that each task had, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretask.reports import html
from pretask.reports.curves import Line, line_chart, mean_line
from pretask.reports.figures import series_swatch
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


def gate_charts(slug: str, runs: Sequence[Mapping[str, Any]]) -> Html:
    """Return a chart for each gated method of a study under one legend: means over seeds with their bands.

    Args:
        slug: starts the slugs of the charts; see `Chart`.
        runs: entries of the study's "curves"; those without "gate" are left out.
    """
    gated = [run for run in runs if run.get("gate")]
    if not gated:
        return Html()
    names = dict.fromkeys(task for run in gated for task in run["gate"])
    colors = {task: color for color, task in enumerate(names, 1)}
    charts = []
    for place, method in enumerate(dict.fromkeys(run["method"] for run in gated)):
        own = [run for run in gated if run["method"] == method]
        lines = [_over_seeds(task, own, color) for task, color in colors.items() if task in own[0]["gate"]]
        charts.append(html.figure(gate_chart(f"{slug}-{place}", lines), method))
    legend = html.legend((task, series_swatch(color)) for task, color in colors.items())
    return html.join([legend, html.figures(*charts)])


def _over_seeds(task: str, runs: Sequence[Mapping[str, Any]], color: int) -> Line:
    return mean_line(task, [(run["at"], run["gate"].get(task) or []) for run in runs], color)


def _course(line: Line) -> str:
    told = [f"{100 * value:.0f} %" for value in line.values]
    return f"{line.name} {' to '.join(dict.fromkeys((told[0], told[-1])))}" if told else line.name
