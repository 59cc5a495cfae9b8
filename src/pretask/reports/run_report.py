"""The report of one run folder: what was trained, what came of it, and how the training went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretask.errors import PretaskError
from pretask.io.documents import read_json_object, read_yaml
from pretask.reports import curves, html
from pretask.reports.explanations import explanations
from pretask.reports.figures import series_swatch
from pretask.reports.gates import MEANING, TITLE, gate_chart, gate_weights
from pretask.reports.html import Html, tag
from pretask.reports.run_tables import calibration, class_table, confusion, results_table
from pretask.reports.words import duration, known, moment, number, percent, whole
from pretask.training.run_folder import RunFolder

ACCURACY_NOTE = (
    "Train lines are each head's own task on augmented images, validation lines the classifier. A pretext "
    "accuracy that stays at chance, or reaches 100 % at once, teaches nothing."
)
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
    epochs = _epochs(run)
    if not (config or results or epochs):
        raise PretaskError(
            f"'{folder}' holds no run (no config.yaml, metrics.jsonl or results.json): "
            "give the folder that `pretask train` wrote"
        )
    names = (
        (results.get("data") or {}).get("class_names")
        or _json(folder / "model.json").get("class_names")
        or []
    )
    test = _default_test(results)
    return html.page(
        f"{folder.resolve().name} · pretask run",
        tag("h1", folder.resolve().name),
        tag("p", _lead(results, epochs), class_="lead"),
        *_stamps(results),
        html.section("Results", results_table(results)) if results.get("inferences") else Html(),
        _training(epochs),
        calibration(test),
        confusion(test, names),
        class_table(test, names),
        explanations(folder),
        _facts(config, environment, results),
    )


def _epochs(run: RunFolder) -> list[dict[str, Any]]:
    """Return what was logged of each epoch, in order; a resumed epoch's last line counts."""
    epochs = {record["epoch"]: record for record in run.read_metrics()}
    return [epochs[epoch] for epoch in sorted(epochs)]


def _lead(results: dict[str, Any], epochs: list[dict[str, Any]]) -> str:
    top1 = _default_test(results).get("top1")
    parts = [results.get("method"), (results.get("data") or {}).get("name")]
    if known(top1):
        parts.append(f"{percent(top1)} % top-1 on the test set ({results['default_inference']} inference)")
    elif not results:
        parts.append(f"no results yet: {len(epochs)} epochs so far")
    parts.append(duration(results["seconds"]) if known(results.get("seconds")) else None)
    return " · ".join(part for part in parts if part)


def _stamps(results: dict[str, Any]) -> list[Html]:
    if results.get("selection") != "test":
        return []
    return [
        html.notice(
            "The checkpoint was selected on the test set, as was asked for: its figures are optimistic."
        )
    ]


def _training(epochs: list[dict[str, Any]]) -> Html:
    if not epochs:
        return Html()
    colors = _colors(epochs)
    losses = _train_lines(epochs, "loss", colors)
    accuracies = _train_lines(epochs, "accuracy", colors)
    accuracies += _validation_lines(epochs, first=len(colors) + 1)
    spreads = [
        _line("spread of embeddings", [(e["epoch"], (e.get("train") or {}).get("spread")) for e in epochs], 1)
    ]
    rates = [_line("learning rate", [(e["epoch"], e.get("lr")) for e in epochs], 1)]
    charts = [
        _chart("train-loss", losses, "training loss", "Means over each epoch's batches."),
        _chart("accuracy", accuracies, "accuracy", ACCURACY_NOTE, percent=True),
        _gate(epochs, colors),
        _chart("spread", [line for line in spreads if line.at], "spread of embeddings", SPREAD_NOTE),
        _chart("learning-rate", [line for line in rates if line.at], "learning rate", "At each epoch's end."),
    ]
    return html.section("Training", html.figures(*(chart for chart in charts if chart)), _speed(epochs))


def _chart(slug: str, lines: list[curves.Line], y_label: str, caption: str, *, percent: bool = False) -> Html:
    if not lines:
        return Html()
    return _figure(lines, curves.line_chart(slug, lines, y_label=y_label, percent=percent), caption)


def _gate(epochs: list[dict[str, Any]], colors: dict[str, int]) -> Html:
    at = [e["epoch"] for e in epochs]
    lines = [
        _line(task, list(zip(at, weights, strict=True)), colors[task])
        for task, weights in gate_weights(epochs).items()
    ]
    if not lines:
        return Html()
    return _figure(lines, gate_chart("gate", lines), f"{TITLE}: {MEANING}. Means over each epoch's batches.")


def _figure(lines: list[curves.Line], drawn: Html, caption: str) -> Html:
    named = (
        html.legend((line.name, series_swatch(line.color)) for line in lines) if len(lines) > 1 else Html()
    )
    return html.figure(Html(named + drawn), caption)


def _train_lines(epochs: list[dict[str, Any]], figure: str, colors: dict[str, int]) -> list[curves.Line]:
    keys = [key for key in _train_keys(epochs) if key == figure or key.endswith(f"_{figure}")]
    return [
        _line(
            f"train {key}".replace("_", " "),
            [(e["epoch"], (e.get("train") or {}).get(key)) for e in epochs],
            colors[_task(key)],
        )
        for key in keys
    ]


def _train_keys(epochs: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for epoch in epochs for key in epoch.get("train") or {}))


def _colors(epochs: list[dict[str, Any]]) -> dict[str, int]:
    """A colour per task, the same in every chart."""
    return {task: color for color, task in enumerate(dict.fromkeys(map(_task, _train_keys(epochs))), 1)}


def _task(key: str) -> str:
    """Return "patch-flip" for "patch-flip_loss", "patch-flip_accuracy" and "gate_patch-flip", and "" for "loss"."""
    return key.removeprefix("gate_").removesuffix("loss").removesuffix("accuracy").removesuffix("_")


def _validation_lines(epochs: list[dict[str, Any]], first: int) -> list[curves.Line]:
    inferences = dict.fromkeys(name for epoch in epochs for name in epoch.get("validation") or {})
    return [
        _line(
            f"validation top-1, {name}",
            [(e["epoch"], ((e.get("validation") or {}).get(name) or {}).get("top1")) for e in epochs],
            color,
        )
        for color, name in enumerate(inferences, first)
    ]


def _line(name: str, points: list[tuple[float, Any]], color: int) -> curves.Line:
    held = [(epoch, float(value)) for epoch, value in points if known(value)]
    return curves.Line(name, [epoch for epoch, _ in held], [value for _, value in held], color)


def _speed(epochs: list[dict[str, Any]]) -> Html:
    rates = sorted(e["images_per_second"] for e in epochs if known(e.get("images_per_second")))
    waits = sorted(e["wait_share"] for e in epochs if known(e.get("wait_share")))
    if not rates:
        return Html()
    told = f"Median speed {whole(rates[len(rates) // 2])} images per second"
    told += f", {number(100 * waits[len(waits) // 2], 1)} % of the time waiting for data." if waits else "."
    return tag("p", told, class_="caption")


def _facts(config: dict[str, Any], environment: dict[str, Any], results: dict[str, Any]) -> Html:
    command = results.get("command") or environment.get("command")
    return html.section(
        "How it was made",
        html.command(command) if command else Html(),
        html.facts({key: results.get(key) for key in RESULT_FACTS} | {"data": results.get("data")}),
        tag("h3", "Environment"),
        html.facts(_environment(environment)),
        tag("details", tag("summary", "Configuration"), html.facts(config)),
    )


def _environment(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key != "command"} | {
        "started": moment(told.get("started"))
    }


def _default_test(results: dict[str, Any]) -> dict[str, Any]:
    inference = (results.get("inferences") or {}).get(results.get("default_inference"), {})
    found: dict[str, Any] = (inference.get("selected") or inference.get("last") or {}).get("test") or {}
    return found


def _json(path: Path) -> dict[str, Any]:
    return read_json_object(path, "restore the file that the run wrote") if path.exists() else {}
