"""The charts of the reports: lines over epochs, differences with intervals, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from pretask.reports import figures
from pretask.reports.figures import INK, SOFT, Chart
from pretask.reports.html import Html

DrawLines = Callable[[str, Sequence["Line"]], Html]
"""Makes a chart of a slug (see `Chart`) and lines."""
MOST_TIPS = 40
"""Points of a line that say what they are."""


@dataclass(frozen=True)
class Line:
    """One line over epochs or steps; `color` counts from 1, 0 is the neutral one of the baseline."""

    name: str
    at: Sequence[float]
    values: Sequence[float]
    color: int
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def mean_line(name: str, runs: Sequence[tuple[Sequence[float], Sequence[float | None]]], color: int) -> Line:
    """Return the mean of several runs with the band from the lowest to the highest.

    Args:
        name: of the line.
        runs: (epochs or steps, values) of each seed; a mean is over the runs that have a value there.
        color: see `Line`.
    """
    held: dict[float, list[float]] = {}
    for places, values in runs:
        for place, value in zip(places, values, strict=False):
            if value is not None and value == value:
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
        color, dash = figures.series_color(line.color), figures.series_dash(line.color)
        alone = "o" if len(line.at) == 1 else None
        axes.plot(line.at, line.values, color=color, linestyle=dash, marker=alone, markersize=4)
        _tell_points(chart, line, x_label, percent)
        if line.low is not None and line.high is not None:
            axes.fill_between(line.at, line.low, line.high, color=color, alpha=0.18, linewidth=0)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.02)
    if limits is not None:
        axes.set_ylim(*limits)
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    ends = [f"{line.name}, at the end {_written(line.values[-1], percent)}" for line in lines if line.values]
    return chart.svg(description or f"{y_label} over {x_label}s: {'; '.join(ends)}")


def _tell_points(chart: Chart, line: Line, x_label: str, percent: bool) -> None:
    """Name points of a line, the last among them; where they lie close, some."""
    every = max(1, -(-len(line.at) // MOST_TIPS))
    for place in range(len(line.at) - 1, -1, -every):
        told = f"{line.name}, {x_label} {line.at[place]:g}: {_written(line.values[place], percent)}"
        chart.tip(line.at[place], line.values[place], told)


def _written(value: float, percent: bool) -> str:
    return f"{100 * value:.2f} %" if percent else f"{value:.4g}"


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
        unit: of the differences; nothing but percentage points has three decimals.
    """
    digits = 2 if unit == "percentage points" else 3
    told = [f"{name}: {_difference_words(mean, low, high, digits)}" for name, mean, low, high in rows]
    names = [name.replace(":", "\n") for name, *_ in rows]  # a variant's settings, one below the other
    room = [0.1 + 0.17 * (1 + name.count("\n")) for name in names]  # inches
    places = [sum(room[:row]) + room[row] / 2 for row in range(len(rows))]
    axis = f"difference in {what},\n{unit}" if len(what) > 10 else f"difference in {what}, {unit}"
    chart = Chart(slug, height=0.75 + 0.15 * axis.count("\n") + sum(room))
    axes = chart.axes
    axes.axvline(0, color=SOFT, linewidth=1)
    for place, (_, mean, low, high), words in zip(places, rows, told, strict=True):
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=figures.series_color(1), linewidth=2)
        axes.plot([mean], [place], "o", color=figures.series_color(1), markersize=5)
        chart.tip(mean, place, f"{words} {unit}")
    axes.set_yticks(places, names, color=INK)
    axes.set_ylim(sum(room), 0)
    axes.set_xlabel(axis)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    return chart.svg(f"Difference in {what} to {reference} with its interval, in {unit}: {'; '.join(told)}")


def _difference_words(mean: float, low: float | None, high: float | None, digits: int) -> str:
    ends = "" if low is None or high is None else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{mean:+.{digits}f}{ends}"


def work_chart(
    slug: str, lines: Sequence[Line], reference: str, what: str = "test top-1", percent: bool = True
) -> Html:
    """Return a figure over work on a logarithmic axis, a mark with its spread for each point.

    Args:
        slug: see `Chart`.
        lines: `at` is work relative to the reference's at equal length, `low` and `high` are ends of the spread.
        reference: as a person would say it.
        what: the figure is called.
        percent: whether it is a share, shown in per cent.
    """
    chart, told = Chart(slug), []
    axes = chart.axes
    for line in lines:
        color = figures.series_color(line.color)
        axes.plot(line.at, line.values, "o-", color=color, markersize=5, linewidth=1, alpha=0.85)
        for place, value in enumerate(line.values):
            if line.low is not None and line.high is not None:
                axes.plot(
                    [line.at[place]] * 2, [line.low[place], line.high[place]], color=color, linewidth=1.2
                )
            told.append(f"{line.name}, {line.at[place]:.3g} x: {_written(value, percent)}")
            chart.tip(line.at[place], value, told[-1])
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ×"))
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"training work, relative to {reference}")
    axes.set_ylabel(what)
    axes.grid(axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.1)
    return chart.svg(f"{what} over training work: {'; '.join(told)}")


def calibration_chart(slug: str, bins: dict[str, list[Any]]) -> Html:
    """Return the reliability diagram: accuracy of each confidence bin against the diagonal.

    A mark's area tells the bin's share of the images.

    Args:
        slug: see `Chart`.
        bins: "confidence", "accuracy", "share", one entry per bin; an empty bin has `None`.
    """
    chart = Chart(slug, height=3.4)
    axes = chart.axes
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="dashed")
    held = [bin_ for bin_ in zip(bins["confidence"], bins["accuracy"], bins["share"], strict=True) if bin_[2]]
    color = figures.series_color(1)
    for confidence, accuracy, _ in held:
        axes.plot([confidence, confidence], [confidence, accuracy], color=color, linewidth=1, alpha=0.5)
    axes.scatter(
        [confidence for confidence, _, _ in held],
        [accuracy for _, accuracy, _ in held],
        [12 + 260 * share for _, _, share in held],
        color=color,
        alpha=0.85,
        linewidths=0,
        clip_on=False,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_yticks([0.2, 0.4, 0.6, 0.8, 1.0])  # the corner's 0 % stands below the other axis
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.grid()
    axes.tick_params(length=0)
    told = [
        f"{100 * confidence:.0f} % sure, {100 * accuracy:.0f} % right" for confidence, accuracy, _ in held
    ]
    return chart.svg(f"Accuracy of each confidence bin against its mean confidence: {'; '.join(told)}")
