"""Figures of matplotlib for files: PNG, or SVG that is the same for the same drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from pretask.files import write_atomically

CELL = 1.6
"""Side of a picture in a gallery, in inches."""
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "pretask", "font.size": 8}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
    return figure


def show_image(axes: Any, image: Tensor, title: str) -> None:
    """Show an image [C, H, W] in [0, 1], grey or in colours, under a title and without axes."""
    picture = image.permute(1, 2, 0).numpy()
    axes.imshow(picture if picture.shape[2] == 3 else picture[:, :, 0], cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's ending, at once or not at all."""
    kind = path.suffix.removeprefix(".")
    undated = {"Date": None} if kind == "svg" else {}
    with mpl.rc_context(_STYLE):
        write_atomically(path, lambda draft: figure.savefig(draft, format=kind, metadata=undated))
