"""What `pretask speed` found, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = (
    "method",
    "img/s",
    "step",
    "cost [quartiles]",
    "passes",
    "of ceiling",
    "waiting",
    "precision",
    "compiled",
)


def print_speed(found: Mapping[str, Any], console: Console) -> None:
    """Print the table and what it is relative to."""
    settings = found["settings"]
    side = "x".join(map(str, settings["image_size"]))
    table = Table(
        title=f"{settings['backbone']}, batch {settings['batch_size']}, {side}x{settings['channels']}",
        title_justify="left",
        title_style="bold",
    )
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in found["steps"]:
        table.add_row(*_cells(row))
    console.print(table)
    for line in speed_lines(found):
        console.print(line, highlight=False, soft_wrap=True)


def speed_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the ceilings, the comparison with the plain loop and its loader, and the memory, a line each."""
    lines = [
        f"ceilings  {precision}: {ceiling['flops'] / 1e9:,.0f} GFLOP/s in products of matrices, "
        f"{ceiling['bandwidth'] / 1e9:.1f} GB/s of memory"
        for precision, ceiling in found["ceilings"].items()
    ]
    lines += [
        f"plain loop: {row['compared_with']} is {times(row['slower_by'])} as fast"
        for row in found["steps"]
        if "slower_by" in row
    ]
    loaders = found["loaders"]
    if loaders:
        rates = ", ".join(
            f"{name} {entry['images_per_second']:,.0f} img/s"
            for name, entry in loaders.items()
            if "images_per_second" in entry
        )
        lines.append(f"batches   {rates}: {times(loaders['faster_by'])} as fast")
    lines.append(f"memory    {found['peak_memory'] / 1e9:.2f} GB at most, of everything that was timed")
    settings = found["settings"]
    lines.append(
        f"medians of {settings['rounds']} rounds of {settings['steps_per_round']} steps, interleaved; cost is relative "
        "to the first method"
    )
    return lines


def times(ratio: Mapping[str, float]) -> str:
    """Return "2.10 x [2.00, 2.20]", the median with its quartiles."""
    return f"{ratio['median']:.2f} x [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _cells(row: Mapping[str, Any]) -> list[str]:
    start = [
        row["method"],
        f"{row['images_per_second']:,.0f}",
        f"{1000 * row['step_seconds']:.1f} ms",
        times(row["cost"]),
    ]
    if "bound_seconds" not in row:
        return [*start, "", "", "", "", ""]
    return [
        *start,
        f"{row['passes']:.2f}",
        f"{100 * row['share_of_ceiling']:.0f} %",
        f"{100 * row['wait_share']:.1f} %",
        row["precision"],
        row["compile"],
    ]
