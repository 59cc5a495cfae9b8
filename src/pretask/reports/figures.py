"""A matplotlib figure as SVG for a page: its colours follow the page, its text is text."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import escape

from pretask.reports.html import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stand-ins that become CSS variables in the SVG, so that one drawing serves light and dark pages.
INK, SOFT, LINE = "#010101", "#010102", "#010103"
NEUTRAL = "#020200"
SERIES = tuple(f"#0202{i:02x}" for i in range(1, 9))
_VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", NEUTRAL: "--s0"} | {
    color: f"--s{i}" for i, color in enumerate(SERIES, 1)
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pretask",
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
_DASHES = (("solid", ""), ("dashed", "dashed"), ("dotted", "dotted"))
"""Line styles of matplotlib, and the CSS classes of the same in a legend."""


class Chart:
    """One pair of axes: draw on `axes`, then take `svg()`. matplotlib is imported when the first one is made.

    Args:
        slug: a word of its own within the page, which keeps the drawings' ids apart.
        width: inches; a narrow drawing stays readable when a phone shrinks it.
        height: inches.
    """

    def __init__(self, slug: str, width: float = 4.4, height: float = 2.8) -> None:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self._slug = slug
        with rc_context(_STYLE):
            self._figure = Figure(figsize=(width, height), layout="constrained")
            self._figure.patch.set_alpha(0)
            FigureCanvasSVG(self._figure)
            self.axes: Axes = self._figure.add_subplot()
            self.axes.patch.set_alpha(0)
            self.axes.set_axisbelow(True)
        self._tips: list[tuple[float, float, str]] = []

    def scale(
        self,
        which: Literal["x", "y"],
        label: str,
        *,
        unit: str = "",
        factor: float = 1,
        ticks: int | None = None,
        whole: bool = False,
    ) -> None:
        """Say what an axis shows.

        Args:
            which: of the two.
            label: stands beside it.
            unit: stands behind each number, where there is one.
            factor: a number is the value times this.
            ticks: at most so many, at round values.
            whole: whether values are whole numbers.
        """
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axis = self.axes.xaxis if which == "x" else self.axes.yaxis
        axis.set_label_text(label)
        if unit:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{factor * value:g} {unit}"))
        if ticks is not None:
            # One whole number is enough for what has but one place, such as a line of one epoch.
            axis.set_major_locator(MaxNLocator(ticks, integer=whole, min_n_ticks=1 if whole else 2))

    def bare(self, grid: Literal["x", "y", "both"]) -> None:
        """Leave lines at the ticks of these axes in place of a frame's left side and the ticks themselves."""
        self.axes.grid(axis=grid)
        self.axes.tick_params(axis="y" if grid == "y" else "both", length=0)
        self.axes.spines["left"].set_visible(grid == "both")

    def tip(self, x: float, y: float, text: str) -> None:
        """Add a text that is shown on pointing at a place, in the units of the axes."""
        self._tips.append((x, y, text))

    def svg(self, description: str) -> Html:
        """Return the drawing; `description` is what a screen reader says."""
        from matplotlib import rc_context

        buffer = io.StringIO()
        with rc_context(_STYLE):
            self._figure.savefig(buffer, format="svg", metadata={"Date": None})
        drawn = buffer.getvalue().replace("</svg>", f"{self._spots()}</svg>")
        return Html(_embedded(drawn, self._slug, description))

    def _spots(self) -> str:
        """Return an unseen mark per tip; places are known once the figure is laid out."""
        width, height = 72 * self._figure.get_size_inches()
        to_figure = self.axes.transData + self._figure.transFigure.inverted()
        spots = []
        for x, y, text in self._tips:
            across, up = to_figure.transform((x, y))
            place = f'cx="{across * width:.1f}" cy="{(1 - up) * height:.1f}"'
            spots.append(f'<circle {place} r="6" class="tip"><title>{escape(text)}</title></circle>')
        return "".join(spots)


def series_color(index: int) -> str:
    """Return the colour of the series at this place; 0 is the neutral one, kept for the baseline."""
    return NEUTRAL if index == 0 else SERIES[(index - 1) % len(SERIES)]


def series_dash(index: int) -> str:
    """Return the line style, which distinguishes series of the same colour."""
    return _dash(index)[0]


def series_swatch(index: int) -> str:
    """Return the CSS classes of the same series in a legend."""
    color = 0 if index == 0 else (index - 1) % len(SERIES) + 1
    return f"c{color} {_dash(index)[1]}".strip()


def _dash(index: int) -> tuple[str, str]:
    return _DASHES[0 if index == 0 else (index - 1) // len(SERIES) % len(_DASHES)]


def _embedded(svg: str, slug: str, description: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{slug}-", svg)
    svg = re.sub(r"#0[12][0-9a-f]{4}\b", lambda found: f"var({_VARIABLES[found[0]]})", svg)
    label = f'<svg class="chart" role="img" aria-label="{escape(description)}"'
    return svg.replace("<svg", label, 1).strip()
