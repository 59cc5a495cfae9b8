"""How well the pretexts' own tasks were learned, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretask.reports import curves, html
from pretask.reports.figures import series_swatch
from pretask.reports.html import Html

TITLE = "Accuracies of the tasks over training"
MEANING = (
    "Each auxiliary head's accuracy on training images. A pretext's that stays at chance, or reaches 100 % at once, "
    "teaches nothing."
)
_ENDING = "_accuracy"


def task_accuracies(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return each auxiliary task's accuracy by epoch from the lines of a `metrics.jsonl`."""
    logs = [record.get("train") or {} for record in records]
    keys = dict.fromkeys(key for log in logs for key in log if key.endswith(_ENDING))
    return {key.removesuffix(_ENDING): [log.get(key) for log in logs] for key in keys}


def task_charts(slug: str, runs: Sequence[Mapping[str, Any]], key: str, draw: curves.DrawLines) -> Html:
    """Return a chart of tasks for each method that has them, under one legend: means over seeds with their bands.

    Args:
        slug: starts the slugs of the charts; see `Chart`.
        runs: entries of the study's "curves"; those without `key` are left out.
        key: of an entry, where it has values by task.
        draw: makes a chart of a slug and lines.
    """
    having = [run for run in runs if run.get(key)]
    if not having:
        return Html()
    colors = {
        task: color for color, task in enumerate(dict.fromkeys(t for run in having for t in run[key]), 1)
    }
    charts = []
    for place, method in enumerate(dict.fromkeys(run["method"] for run in having)):
        own = [run for run in having if run["method"] == method]
        lines = [
            curves.mean_line(task, [(run["at"], run[key].get(task) or []) for run in own], color)
            for task, color in colors.items()
            if task in own[0][key]
        ]
        charts.append(html.figure(draw(f"{slug}-{place}", lines), method))
    legend = html.legend((task, series_swatch(color)) for task, color in colors.items())
    return html.join([legend, html.figures(*charts)])


def accuracy_chart(slug: str, lines: Sequence[curves.Line]) -> Html:
    """Return accuracies of tasks, a line each, from 0 to 100 %."""
    return curves.line_chart(slug, lines, y_label="training accuracy", percent=True, limits=(0, 1))
