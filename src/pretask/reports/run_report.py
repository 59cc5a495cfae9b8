"""The report of one run folder: what was trained, what came of it, and how the training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pretask.errors import PretaskError
from pretask.io.documents import read_json_object, read_yaml
from pretask.reports import html
from pretask.reports.curves import GATE, Line, calibration_chart, line_chart
from pretask.reports.explanations import explanations
from pretask.reports.figures import series_swatch
from pretask.reports.html import NOTHING, Html
from pretask.reports.table import Cell, Column, Table
from pretask.reports.words import NAMES, duration, known, metric, moment, number, percent, whole
from pretask.training.run_folder import RunFolder

HEADS_NOTE = (
    "Train lines are each head's own task on augmented images. A pretext accuracy that stays at chance, or reaches "
    "100 % at once, teaches nothing."
)
CLASSIFIER_NOTE = " Validation lines are the classifier."
SPREAD_NOTE = "1 where embeddings fill all directions evenly, 0 where all images have the same one."
RESULT_FACTS = (
    "backbone",
    "seed",
    "protocol",
    "selection",
    "selected_epoch",
    "epochs",
    "images",
    "work_images",
)
GROUPS = ("many", "medium", "few")
METRICS = ("top1", "top5", "balanced", *GROUPS, "ece", "loss", "n")
UNSHOWN = ("top5_k", "half_interval")
"""Numbers that say something of others, not of the classifier."""
MATRIX_CLASSES = 30
CLASS_ROWS = 20
MISTAKES = 20


def write_run_report(run_dir: Path | str, results: dict[str, Any] | None = None) -> Path:
    """Write `report.html` into a run folder from what the folder holds; return where it is.

    A run that is still under way, or was cut short, gets a report of what there is.

    Args:
        run_dir: the run folder.
        results: of a run that has not written them yet.

    Raises:
        PretaskError: the folder is none, or holds no file of a run, or one of them is not readable.
    """
    folder = Path(run_dir)
    return html.write_page(folder / "report.html", run_page(folder, results))


def run_page(folder: Path, results: dict[str, Any] | None = None) -> str:
    """Return the HTML document of a run folder; see `write_run_report`."""
    run = RunFolder(folder)
    config = read_yaml(run.config) if run.config.exists() else {}
    environment = _json(run.environment)
    if results is None:
        results = run.read_results() if run.results.exists() else {}
    # A resumed epoch is logged twice: its last line counts.
    epochs = [log for _, log in sorted({log["epoch"]: log for log in run.read_metrics()}.items())]
    if not (config or results or epochs):
        raise PretaskError(
            f"'{folder}' holds no run (no config.yaml, metrics.jsonl or results.json): "
            "give the folder that `pretask train` wrote"
        )
    data = results.get("data") or {}
    test = _default_test(results)
    names = data.get("class_names") or _json(folder / "model.json").get("class_names") or ()
    command = environment.pop("command", None)
    return html.render(
        "run.html",
        title=f"{folder.resolve().name} · pretask run",
        name=folder.resolve().name,
        lead=_lead(results, epochs),
        notices=_notices(results),
        results=_results(results),
        charts=_charts(epochs),
        speed=_speed(epochs),
        calibration=_calibration(test),
        matrix=_matrix(test, names),
        mistakes=_mistakes(test, names),
        classes=_classes(test, names),
        pictures=explanations(folder),
        command=results.get("command") or command,
        facts={key: results.get(key) for key in RESULT_FACTS} | {"data": data},
        environment={**environment, "started": moment(environment.get("started"))},
        config=config,
    )


def _default_test(results: Mapping[str, Any]) -> dict[str, Any]:
    inference = (results.get("inferences") or {}).get(results.get("default_inference"), {})
    return _values((inference.get("selected") or inference.get("last") or {}).get("test"))


def _lead(results: Mapping[str, Any], epochs: Sequence[Any]) -> str:
    parts = [results.get("method"), (results.get("data") or {}).get("name")]
    default = results.get("default_inference")
    if known(top1 := _default_test(results).get("top1")):
        parts.append(f"{percent(top1)} % top-1 on the test set ({default} inference)")
    elif not results:
        parts.append(f"no results yet: {len(epochs)} epochs so far")
    elif (first := next(iter(_found(results)), None)) and known(first[3].get("top1")):
        parts.append(f"{_shown('top1', first[3])} % top-1, {first[2]} ({first[0]})")
    parts.append(duration(results["seconds"]) if known(results.get("seconds")) else None)
    return " · ".join(part for part in parts if part)


def _notices(results: Mapping[str, Any]) -> list[str]:
    notices = []
    if results.get("selection") == "test":
        notices.append(
            "The checkpoint was selected on the test set, as was asked for: its metrics are optimistic."
        )
    return notices + [str(values["warning"]) for *_, values in _found(results) if values.get("warning")]


def _found(results: Mapping[str, Any]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return (inference, checkpoint, split, metrics) of everything that a run was judged by."""
    found = [
        (inference, checkpoint, split, _values(metrics))
        for inference, checkpoints in (results.get("inferences") or {}).items()
        for checkpoint, splits in checkpoints.items()
        for split, metrics in (splits or {}).items()
    ]
    episodes, neighbours = (results.get(key) or {} for key in ("few_shot", "embeddings"))
    found += [(name, "selected", "test episodes", _values(metrics)) for name, metrics in episodes.items()]
    found += [(name, "last", "validation", _values(metrics)) for name, metrics in neighbours.items()]
    return [entry for entry in found if entry[3]]


def _values(metrics: object) -> dict[str, Any]:
    """Return what an evaluator returned, or nothing where that is no mapping."""
    return metrics if isinstance(metrics, dict) else {}


def _results(results: Mapping[str, Any]) -> Table | None:
    """Return the metrics of every inference, checkpoint and split; those that are not named here stand behind."""
    found = _found(results)
    if not found:
        return None
    numbers = dict.fromkeys(key for *_, values in found for key in values if known(values[key]))
    shown = [key for key in METRICS if key in numbers]
    shown += [key for key in numbers if key not in (*METRICS, *UNSHOWN)]
    if sum(key in GROUPS for key in shown) == 1:  # one group is all classes, which "balanced" says
        shown = [key for key in shown if key not in GROUPS]
    return Table(
        "",
        [
            *(Column(name, words=True, key=True) for name in ("inference", "checkpoint", "split")),
            *(Column(NAMES.get(key, key.replace("_", " "))) for key in shown),
        ],
        [[*entry, *(_shown(key, values) for key in shown)] for *entry, values in found],
        note=_checkpoints(results),
    )


def _shown(key: str, values: Mapping[str, Any]) -> str:
    half = values.get("half_interval") if key == "top1" else None
    return metric(key, values.get(key)) + (f" ± {percent(half)}" if known(half) else "")


def _checkpoints(results: Mapping[str, Any]) -> str:
    if results.get("embeddings"):
        return "Top-1 is that of the nearest neighbours in the embeddings; nothing was trained on labels."
    epoch, selection = results.get("selected_epoch"), results.get("selection", "validation")
    which = f", epoch {epoch}," if known(epoch) else ""
    best = f"the checkpoint{which} with the best {selection} accuracy"
    if selection == "last":
        best = "the last checkpoint, as nothing else was asked for"
    if results.get("few_shot"):
        return f"“Selected” is {best}. Top-1 is the mean over the test episodes with its 95 % interval."
    default = results.get("default_inference")
    note = f"“Selected” is {best}; “last” the one after the last epoch."
    return f"{note} The default inference is “{default}”." if default else note


class _Figure(NamedTuple):
    """A chart, its caption, and its legend: (name, swatch) of each line."""

    chart: Html
    caption: str
    names: Sequence[tuple[str, str]] = ()


def _charts(epochs: Sequence[Mapping[str, Any]]) -> list[_Figure]:
    """Return what was logged over the epochs; a task has one colour in all charts."""
    at = [log["epoch"] for log in epochs]
    trained = [_values(log.get("train")) for log in epochs]
    keys = list(dict.fromkeys(key for log in trained for key in log))
    colors = {task: color for color, task in enumerate(dict.fromkeys(map(_task, keys)), 1)}

    def line(name: str, values: Sequence[Any], color: int = 1) -> Line:
        held = [(epoch, float(value)) for epoch, value in zip(at, values, strict=True) if known(value)]
        return Line(name, [epoch for epoch, _ in held], [value for _, value in held], color)

    def train_lines(metric: str) -> list[Line]:
        own = [key for key in keys if key == metric or key.endswith(f"_{metric}")]
        return [
            line(f"train {key}".replace("_", " "), [log.get(key) for log in trained], colors[_task(key)])
            for key in own
        ]

    judged = [_values(log.get("validation")) for log in epochs]
    validated = [
        line(f"validation top-1, {name}", [_values(log.get(name)).get("top1") for log in judged], color)
        for color, name in enumerate(dict.fromkeys(name for log in judged for name in log), len(colors) + 1)
    ]
    accuracies = train_lines("accuracy") + validated
    accuracy_note = HEADS_NOTE + (CLASSIFIER_NOTE if any(line.at for line in validated) else "")
    gates = [line(task, weights, colors[task]) for task, weights in GATE.read(epochs).items()]
    spread = [line("spread of embeddings", [log.get("spread") for log in trained])]
    rate = [line("learning rate", [log.get("lr") for log in epochs])]

    def figure(
        slug: str, lines: list[Line], label: str, caption: str, percent: bool = False
    ) -> _Figure | None:
        drawn = [line for line in lines if line.at]
        if not drawn:
            return None
        chart = (
            GATE.chart(slug, drawn)
            if lines is gates
            else line_chart(slug, drawn, y_label=label, percent=percent)
        )
        return _Figure(chart, caption, [(line.name, series_swatch(line.color)) for line in drawn])

    charts = [
        figure("train-loss", train_lines("loss"), "training loss", "Means over each epoch's batches."),
        figure("accuracy", accuracies, "accuracy", accuracy_note, percent=True),
        figure("gate", gates, "", f"{GATE.title}. {GATE.meaning} Means over each epoch's batches."),
        figure("spread", spread, "spread of embeddings", SPREAD_NOTE),
        figure("learning-rate", rate, "learning rate", "At each epoch's end."),
    ]
    return [chart for chart in charts if chart]


def _task(key: str) -> str:
    """Return "patch-flip" for "patch-flip_loss", "patch-flip_accuracy" and "gate_patch-flip", and "" for "loss"."""
    return key.removeprefix("gate_").removesuffix("loss").removesuffix("accuracy").removesuffix("_")


def _speed(epochs: Sequence[Mapping[str, Any]]) -> str:
    rates, waits = (
        sorted(log[key] for log in epochs if known(log.get(key)))
        for key in ("images_per_second", "wait_share")
    )
    if not rates:
        return ""
    waited = f", {number(100 * waits[len(waits) // 2], 1)} % of the time waiting for data" if waits else ""
    return f"Median speed {whole(rates[len(rates) // 2])} images per second{waited}."


def _calibration(test: Mapping[str, Any]) -> _Figure | None:
    """Return the reliability diagram, where the metrics hold its bins."""
    if not (bins := test.get("reliability")):
        return None
    return _Figure(
        calibration_chart("calibration", bins),
        "Accuracy of the images in each confidence bin; a mark's area is their share. Below the diagonal the "
        f"classifier is surer than it is right. Expected calibration error {metric('ece', test.get('ece'))} %.",
    )


def _matrix(
    test: Mapping[str, Any], names: Sequence[str]
) -> list[tuple[str, list[tuple[int, str, str]]]] | None:
    """Return (class, cells) for each row of the confusion matrix, cells as (images, look, shade in per cent).

    None where there is no matrix, or one of more than 30 classes.
    """
    matrix = test.get("confusion")
    if not matrix or len(matrix) > MATRIX_CLASSES:
        return None
    return [
        (_name(names, true), [_cell(images, sum(row), true == c) for c, images in enumerate(row)])
        for true, row in enumerate(matrix)
    ]


def _cell(images: int, total: int, hit: bool) -> tuple[int, str, str]:
    # Rare mistakes are what one looks for, so their shade grows faster than their share.
    shade = (55 * images / total if hit else 70 * (images / total) ** 0.5) if images else 0
    return images, "none" if not images else "hit" if hit else "miss", f"{shade:.0f}"


def _mistakes(test: Mapping[str, Any], names: Sequence[str]) -> Table | None:
    """Return the most confused pairs of classes, where there are more than a matrix could show."""
    matrix = test.get("confusion") or []
    pairs = test.get("confused_pairs") or sorted(
        ((i, j, n) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n),
        key=lambda pair: -pair[2],
    )
    if not pairs or 0 < len(matrix) <= MATRIX_CLASSES:
        return None
    sizes = test.get("images_per_class")
    rows = [
        [
            _name(names, true),
            _name(names, predicted),
            whole(images),
            f"{percent(images / sizes[true])} %" if sizes and sizes[true] else NOTHING,
        ]
        for true, predicted, images in pairs[:MISTAKES]
    ]
    columns = [Column(name, words=True, key=True) for name in ("true class", "taken for")]
    columns += [Column("images"), Column("of the class")]
    return Table("", columns, rows, note=f"The {len(rows)} most frequent mistakes on the test set.")


def _classes(test: Mapping[str, Any], names: Sequence[str]) -> list[Table]:
    """Return the accuracy of each class, lowest first: the first 20, and a second table of the others."""
    accuracies = test.get("per_class") or []
    sizes = test.get("images_per_class") or [None] * len(accuracies)
    order = sorted(range(len(accuracies)), key=lambda c: (not known(accuracies[c]), accuracies[c] or 0.0, c))
    rows: list[list[str | Cell]] = [[_name(names, c), whole(sizes[c]), *_bar(accuracies[c])] for c in order]
    columns = [
        Column("class", words=True, key=True),
        Column("images"),
        Column("accuracy %"),
        Column("", words=True),
    ]
    parts = [part for part in (rows[:CLASS_ROWS], rows[CLASS_ROWS:]) if part]
    notes = ("Test accuracy of each class, lowest first.", "")
    return [Table("", columns, part, note) for part, note in zip(parts, notes, strict=False)]


def _bar(accuracy: object) -> tuple[str, Cell]:
    share = accuracy if known(accuracy) else 0.0
    bar = Html('<div class="bar"><span style="width: {:.1f}%"></span></div>').format(100 * share)
    return percent(accuracy) if known(accuracy) else "no images", Cell("", sort=share, markup=bar)


def _name(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"class {index}"


def _json(path: Path) -> dict[str, Any]:
    return read_json_object(path, "restore the file that the run wrote") if path.exists() else {}
