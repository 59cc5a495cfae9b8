"""The parts of a run's report that tell how the classifier does: figures, classes, mistakes, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretask.reports import curves, html
from pretask.reports.html import NOTHING, Html, join, tag
from pretask.reports.words import NAMES, known, metric, percent, whole

GROUPS = ("many", "medium", "few")
METRICS = ("top1", "top5", "balanced", "many", "medium", "few", "ece", "loss", "n")
MATRIX_CLASSES = 30
CLASS_ROWS = 20


def results_table(results: dict[str, Any]) -> Html:
    """Return the figures of every inference, checkpoint and split."""
    found = [
        (inference, checkpoint, split, figures)
        for inference, checkpoints in results["inferences"].items()
        for checkpoint, splits in checkpoints.items()
        for split, figures in (splits or {}).items()
        if figures
    ]
    shown = [key for key in METRICS if any(known(figures.get(key)) for *_, figures in found)]
    if sum(key in GROUPS for key in shown) == 1:  # one group is all classes, which "balanced" tells
        shown = [key for key in shown if key not in GROUPS]
    rows = [
        [
            inference,
            checkpoint,
            split,
            *(metric(key, figures.get(key)) for key in shown),
        ]
        for inference, checkpoint, split, figures in found
    ]
    return html.table(
        ["inference", "checkpoint", "split", *(NAMES[key] for key in shown)],
        rows,
        caption=_checkpoints(results),
        text_columns=3,
    )


def calibration(test: dict[str, Any]) -> Html:
    """Return the reliability diagram, where the figures hold its bins."""
    bins = test.get("reliability")
    if not bins:
        return Html()
    caption = (
        f"Accuracy of the images in each confidence bin; a mark's area tells how many they are. Below the "
        "diagonal the classifier is surer than it is right. "
        f"Expected calibration error {metric('ece', test.get('ece'))} %."
    )
    return html.section("Calibration", html.figure(curves.calibration_chart("calibration", bins), caption))


def confusion(test: dict[str, Any], names: Sequence[str]) -> Html:
    """Return the confusion matrix, or the most confused pairs where there are more than 30 classes."""
    matrix = test.get("confusion")
    if matrix and len(matrix) <= MATRIX_CLASSES:
        return html.section("Confusion", _matrix(matrix, names))
    pairs = test.get("confused_pairs") or _pairs(matrix or [])
    if not pairs:
        return Html()
    sizes = test.get("images_per_class")
    rows = [
        [
            _name(names, true),
            _name(names, predicted),
            whole(images),
            _share(images, sizes[true] if sizes else None),
        ]
        for true, predicted, images in pairs
    ]
    return html.section(
        "Confusion",
        html.table(
            ["true class", "taken for", "images", "of the class"],
            rows,
            caption=f"The {len(rows)} most frequent mistakes on the test set.",
            text_columns=2,
        ),
    )


def class_table(test: dict[str, Any], names: Sequence[str]) -> Html:
    """Return the accuracy of each class, lowest first; those beyond the first 20 can be unfolded."""
    accuracies = test.get("per_class")
    if not accuracies:
        return Html()
    sizes = test.get("images_per_class") or [None] * len(accuracies)
    order = sorted(range(len(accuracies)), key=lambda c: (not known(accuracies[c]), accuracies[c] or 0.0, c))
    rows = [[_name(names, c), whole(sizes[c]), _share_of(accuracies[c]), _bar(accuracies[c])] for c in order]
    header = ["class", "images", "accuracy %", ""]
    caption = "Test accuracy of each class, lowest first."
    first = html.table(header, rows[:CLASS_ROWS], caption=caption)
    if len(rows) <= CLASS_ROWS:
        return html.section("Classes", first)
    rest = html.table(header, rows[CLASS_ROWS:])
    return html.section(
        "Classes", first, tag("details", tag("summary", f"the other {len(rows) - CLASS_ROWS} classes"), rest)
    )


def _checkpoints(results: dict[str, Any]) -> str:
    epoch, selection = results.get("selected_epoch"), results.get("selection", "validation")
    which = f", epoch {epoch}," if known(epoch) else ""
    best = f"the checkpoint{which} with the best {selection} accuracy"
    if selection == "last":
        best = "the last checkpoint, as nothing else was asked for"
    told = f"“Selected” is {best}; “last” the one after the last epoch."
    default = results.get("default_inference")
    return f"{told} The default inference is “{default}”." if default else told


def _matrix(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Html:
    rows = []
    for true, counts in enumerate(matrix):
        total = sum(counts)
        cells = [_cell(images, total, true == predicted) for predicted, images in enumerate(counts)]
        rows.append(join([tag("th", _name(names, true), scope="row"), *cells]))
    corner = tag("th", "true \\ predicted", scope="col")
    head = tag("tr", corner, *(tag("th", _name(names, c), scope="col") for c in range(len(matrix))))
    body = tag("tbody", *(tag("tr", row) for row in rows))
    caption = "Test images by true class (row) and predicted class (column); shades are shares of the row."
    drawn = tag("table", tag("thead", head), body, class_="matrix")
    return join([tag("p", caption, class_="caption"), tag("div", drawn, class_="scroll", tabindex="0")])


def _cell(images: int, total: int, hit: bool) -> Html:
    if not images:
        return tag("td", "·", class_="none")
    # Rare mistakes are what one looks for, so their shade grows faster than their share.
    shade = 55 * images / total if hit else 70 * (images / total) ** 0.5
    return tag("td", str(images), class_="hit" if hit else "miss", style=f"--share: {shade:.0f}%")


def _pairs(matrix: Sequence[Sequence[int]], limit: int = 20) -> list[tuple[int, int, int]]:
    wrong = [(i, j, n) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n]
    return sorted(wrong, key=lambda pair: -pair[2])[:limit]


def _bar(accuracy: float | None) -> Html:
    width = f"width: {100 * accuracy:.1f}%" if known(accuracy) and accuracy is not None else "width: 0"
    return tag("div", tag("span", style=width), class_="bar")


def _share_of(accuracy: float | None) -> str:
    return percent(accuracy) if known(accuracy) else "no images"


def _share(images: int, total: int | None) -> str:
    return f"{percent(images / total)} %" if total else NOTHING


def _name(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"class {index}"
