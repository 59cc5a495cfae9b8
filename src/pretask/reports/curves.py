"""The charts of the reports: lines over training, differences with intervals, results against work, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretask.reports import html
from pretask.reports.figures import INK, SOFT, Chart, series_color, series_dash, series_swatch
from pretask.reports.html import Html
from pretask.reports.words import known

MOST_TIPS = 40
"""Points of a line that say what they are."""
_PERCENT: Any = {"unit": "%", "factor": 100}


@dataclass(frozen=True)
class Line:
    """One line over epochs or steps; `color` counts from 1, 0 is the neutral one of the baseline."""

    name: str
    at: Sequence[float]
    values: Sequence[float]
    color: int
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def mean_line(name: str, runs: Sequence[tuple[Sequence[float], Sequence[Any]]], color: int) -> Line:
    """Return the mean of several runs with the band from the lowest to the highest.

    Args:
        name: of the line.
        runs: (epochs or steps, values) of each seed; a mean is over the runs that have a number there.
        color: see `Line`.
    """
    held: dict[float, list[float]] = {}
    for places, values in runs:
        for place, value in zip(places, values, strict=False):
            if known(value):
                held.setdefault(place, []).append(value)
    at = sorted(held)
    means = [sum(held[place]) / len(held[place]) for place in at]
    low, high = ([pick(held[place]) for place in at] for pick in (min, max))
    return Line(name, at, means, color, low, high)


def line_chart(
    slug: str,
    lines: Sequence[Line],
    *,
    y_label: str,
    x_label: str = "epoch",
    percent: bool = False,
    limits: tuple[float, float] | None = None,
    level: float | None = None,
    description: str | None = None,
) -> Html:
    """Return lines over epochs or steps.

    Args:
        slug: see `Chart`.
        lines: drawn in this order.
        y_label: of the vertical axis.
        x_label: of the horizontal axis.
        percent: whether shares are shown in per cent.
        limits: ends of the vertical axis; the lines decide where not given.
        level: where a thin line is drawn to compare with.
        description: for screen readers; the label, and where each line ends, where not given.
    """
    chart = Chart(slug)
    axes = chart.axes
    if level is not None:
        axes.axhline(level, color=SOFT, linewidth=0.8)
    for line in lines:
        color, dash = series_color(line.color), series_dash(line.color)
        alone = "o" if len(line.at) == 1 else None
        axes.plot(line.at, line.values, color=color, linestyle=dash, marker=alone, markersize=4)
        if line.low is not None and line.high is not None:
            axes.fill_between(line.at, line.low, line.high, color=color, alpha=0.18, linewidth=0)
        for place in _with_tips(len(line.at)):
            where = f"{x_label} {line.at[place]:g}"
            chart.tip(
                line.at[place],
                line.values[place],
                f"{line.name}, {where}: {_written(line.values[place], percent)}",
            )
    chart.scale("x", x_label, ticks=6, whole=True)
    chart.scale("y", y_label, ticks=5, **_PERCENT if percent else {})
    chart.bare("y")
    axes.margins(x=0.02)
    if limits is not None:
        axes.set_ylim(*limits)
    ends = [f"{line.name}, at the end {_written(line.values[-1], percent)}" for line in lines if line.values]
    return chart.svg(description or f"{y_label} over {x_label}s: {'; '.join(ends)}")


def _with_tips(points: int) -> range:
    """Return the places of the points that say what they are: some where there are many, the last among them."""
    return range(points - 1, -1, -max(1, -(-points // MOST_TIPS)))


def _written(value: float, percent: bool) -> str:
    return f"{100 * value:.2f} %" if percent else f"{value:.4g}"


@dataclass(frozen=True)
class PerTask:
    """A share that is logged of each auxiliary task of a method.

    Attributes:
        key: of an entry of a study's "curves", where it has the shares by task.
        title: of the charts.
        meaning: of the shares, in sentences.
        label: of the vertical axis.
        before, behind: the task's name in what is logged.
        shared: whether the tasks' shares add up to one; a thin line then marks an even share.
    """

    key: str
    title: str
    meaning: str
    label: str
    before: str = ""
    behind: str = ""
    shared: bool = False

    def read(self, records: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
        """Return each task's share by epoch from the lines of a `metrics.jsonl`; nothing where none is logged."""
        logs = [record.get("train") or {} for record in records]
        keys = dict.fromkeys(
            key for log in logs for key in log if key.startswith(self.before) and key.endswith(self.behind)
        )
        return {
            key.removeprefix(self.before).removesuffix(self.behind): [log.get(key) for log in logs]
            for key in keys
        }

    def chart(self, slug: str, lines: Sequence[Line]) -> Html:
        """Return the shares, a line for each task, from 0 to 100 %; a screen reader hears where they went."""
        return line_chart(
            slug,
            lines,
            y_label=self.label,
            percent=True,
            limits=(0, 1),
            level=1 / len(lines) if self.shared else None,
            description=f"{self.title}: {', '.join(map(_course, lines))}",
        )

    def charts(self, slug: str, runs: Sequence[Mapping[str, Any]]) -> Html:
        """Return a chart for each method that has tasks, under one legend: means over seeds with their bands.

        Args:
            slug: starts the slugs of the charts; see `Chart`.
            runs: entries of the study's "curves"; those without `key` are left out.
        """
        having = [run for run in runs if run.get(self.key)]
        colors = {
            task: color
            for color, task in enumerate(dict.fromkeys(t for run in having for t in run[self.key]), 1)
        }
        charts = []
        for place, method in enumerate(dict.fromkeys(run["method"] for run in having)):
            own = [run for run in having if run["method"] == method]
            lines = [
                mean_line(task, [(run["at"], run[self.key].get(task) or []) for run in own], color)
                for task, color in colors.items()
                if task in own[0][self.key]
            ]
            charts.append((self.chart(f"{slug}-{place}", lines), method))
        names = [(task, series_swatch(color)) for task, color in colors.items()]
        return html.part("figures", charts, names) if charts else Html()


TASKS = PerTask(
    "tasks",
    "Accuracies of the tasks over training",
    "Each auxiliary head's accuracy on training images. A pretext's that stays at chance, or reaches 100 % at once, "
    "teaches nothing.",
    "training accuracy",
    behind="_accuracy",
)
GATE = PerTask(
    "gate",
    "Gate weights over training",
    "Each task's share of the total weight of the pretexts; the thin line is an even share.",
    "gate weight",
    before="gate_",
    shared=True,
)


def _course(line: Line) -> str:
    shares = [f"{100 * value:.0f} %" for value in line.values]
    return f"{line.name} {' to '.join(dict.fromkeys((shares[0], shares[-1])))}" if shares else line.name


def interval_chart(
    slug: str,
    rows: Sequence[tuple[str, float, float | None, float | None]],
    what: str = "top-1",
    reference: str = "the baseline",
    unit: str = "percentage points",
) -> Html:
    """Return means with their intervals around zero, the first row on top.

    Args:
        slug: see `Chart`.
        rows: (name, mean, low, high) in `unit`; low and high are `None` without an interval.
        what: is compared.
        reference: it is compared with.
        unit: of the differences; nothing but percentage points has two decimals.
    """
    digits = 2 if unit == "percentage points" else 3
    texts = [f"{name}: {_difference(mean, low, high, digits)}" for name, mean, low, high in rows]
    names = [name.replace(":", "\n") for name, *_ in rows]  # a variant's settings, one below the other
    room = [0.1 + 0.17 * (1 + name.count("\n")) for name in names]  # inches
    places = [sum(room[:row]) + room[row] / 2 for row in range(len(rows))]
    label = f"difference in {what},\n{unit}" if len(what) > 10 else f"difference in {what}, {unit}"
    chart = Chart(slug, height=0.75 + 0.15 * label.count("\n") + sum(room))
    axes, color = chart.axes, series_color(1)
    axes.axvline(0, color=SOFT, linewidth=1)
    for place, (_, mean, low, high), text in zip(places, rows, texts, strict=True):
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=color, linewidth=2)
        axes.plot([mean], [place], "o", color=color, markersize=5)
        chart.tip(mean, place, f"{text} {unit}")
    axes.set_yticks(places, names, color=INK)
    axes.set_ylim(sum(room), 0)
    chart.scale("x", label, ticks=5)
    chart.bare("x")
    axes.margins(x=0.08)
    return chart.svg(f"Difference in {what} to {reference} with its interval, in {unit}: {'; '.join(texts)}")


def _difference(mean: float, low: float | None, high: float | None, digits: int) -> str:
    ends = "" if low is None or high is None else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{mean:+.{digits}f}{ends}"


def work_chart(
    slug: str, lines: Sequence[Line], reference: str, what: str = "test top-1", percent: bool = True
) -> Html:
    """Return a metric over work on a logarithmic axis, a mark with its spread for each point.

    Args:
        slug: see `Chart`.
        lines: `at` is work relative to the reference's at equal length, `low` and `high` are ends of the spread.
        reference: as a person would say it.
        what: the metric is called.
        percent: whether it is a share, shown in per cent.
    """
    chart, texts = Chart(slug), []
    axes = chart.axes
    for line in lines:
        color = series_color(line.color)
        axes.plot(line.at, line.values, "o-", color=color, markersize=5, linewidth=1, alpha=0.85)
        if line.low is not None and line.high is not None:
            axes.vlines(line.at, line.low, line.high, color=color, linewidth=1.2)
        for at, value in zip(line.at, line.values, strict=True):
            texts.append(f"{line.name}, {at:.3g} x: {_written(value, percent)}")
            chart.tip(at, value, texts[-1])
    axes.set_xscale("log", base=2)
    chart.scale("x", f"training work, relative to {reference}", unit="×")
    chart.scale("y", what, ticks=5, **_PERCENT if percent else {})
    chart.bare("y")
    axes.margins(x=0.1)
    return chart.svg(f"{what} over training work: {'; '.join(texts)}")


def calibration_chart(slug: str, bins: Mapping[str, list[Any]]) -> Html:
    """Return the reliability diagram: accuracy of each confidence bin against the diagonal.

    A mark's area is the bin's share of the images.

    Args:
        slug: see `Chart`.
        bins: "confidence", "accuracy", "share", one entry per bin; an empty bin has `None`.
    """
    chart = Chart(slug, height=3.4)
    axes, color = chart.axes, series_color(1)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="dashed")
    held = [bin_ for bin_ in zip(bins["confidence"], bins["accuracy"], bins["share"], strict=True) if bin_[2]]
    confidences, accuracies, shares = zip(*held, strict=True) if held else ((), (), ())
    axes.vlines(confidences, confidences, accuracies, color=color, linewidth=1, alpha=0.5)
    areas = [12 + 260 * share for share in shares]
    axes.scatter(confidences, accuracies, areas, color=color, alpha=0.85, linewidths=0, clip_on=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_yticks([0.2, 0.4, 0.6, 0.8, 1.0])  # the corner's 0 % stands below the other axis
    chart.scale("x", "confidence", **_PERCENT)
    chart.scale("y", "accuracy", **_PERCENT)
    chart.bare("both")
    texts = [f"{100 * sure:.0f} % sure, {100 * right:.0f} % right" for sure, right, _ in held]
    return chart.svg(f"Accuracy of each confidence bin against its mean confidence: {'; '.join(texts)}")
