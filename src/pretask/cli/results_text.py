"""Results, evaluations and predictions as lines of text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = (
    ("top1", "top-1"),
    ("balanced", "balanced"),
    ("many", "many"),
    ("medium", "medium"),
    ("few", "few"),
    ("ece", "ECE"),
)


def run_lines(results: Mapping[str, Any]) -> list[str]:
    """Return what a run of any kind ended with, and what can be done with it."""
    kinds = {"supervised": results_lines, "pretraining": pretraining_lines, "episodes": few_shot_lines}
    return kinds[results["kind"]](results)


def results_lines(results: Mapping[str, Any]) -> list[str]:
    """Return a line per inference of a run's results, and where they are."""
    lines = []
    for name, figures in results["inferences"].items():
        for which in ("selected", "last"):
            test = figures[which].get("test")
            if test:
                lines.append(f"{name:<11} {which:<8} test {figures_line(test)}")
    if results["optimistic"]:
        lines.append("selected on the test set: the selected figures are optimistic")
    return [*lines, f"report: {results['folder']}/report.html"]


def pretraining_lines(results: Mapping[str, Any]) -> list[str]:
    """Return what a pre-training ended with, and what can be done with it."""
    folder, lines = results["folder"], []
    for figures in results["embeddings"].values():
        neighbours = figures.get("top1")
        told = "" if neighbours is None else f"validation top-1 of neighbours {100 * neighbours:.2f} %  "
        lines.append(f"{told}spread {figures['spread']:.2f}  effective rank {figures['effective_rank']:.1f}")
    return [
        *lines,
        f"next: pretask evaluate {folder} --protocol knn linear",
        f"  or: pretask train --init {folder} --data … --label-fraction 0.1",
        f"report: {folder}/report.html",
    ]


def few_shot_lines(results: Mapping[str, Any]) -> list[str]:
    """Return what a training by episodes ended with: a line per inference, on classes never seen."""
    lines = [
        f"{name:<11} test {100 * figures['top1']:.2f} ± {100 * figures['half_interval']:.2f} %"
        for name, figures in results["few_shot"].items()
    ]
    return [results["protocol"], *lines, f"report: {results['folder']}/report.html"]


def figures_line(figures: Mapping[str, Any]) -> str:
    """Return the main figures of one evaluation."""
    parts = [f"{title} {100 * figures[key]:.2f} %" for key, title in _SHOWN if figures.get(key) is not None]
    parts.insert(1, f"top-{figures['top5_k']} {100 * figures['top5']:.2f} %")
    return "  ".join(parts)


def evaluation_lines(evaluation: Mapping[str, Any], format: str) -> list[str]:
    """Return an evaluation as a table for people or as JSON."""
    if format == "json":
        return [json.dumps(evaluation, indent=2)]
    lines = [f"{evaluation['run']} on {evaluation['data']}", *_features_lines(evaluation.get("features"))]
    for protocol in evaluation["protocols"].values():
        lines.append(protocol["protocol"])
        lines += [f"{name:<11} {_any_line(figures)}" for name, figures in protocol["inferences"].items()]
    return lines


def _any_line(figures: Mapping[str, Any]) -> str:
    if "top5_k" in figures:
        return figures_line(figures)
    if "robust_top1" in figures:
        return _robust_line(figures)
    if "tasks" in figures:
        return _few_shot_line(figures)
    if "num_features" in figures:
        return _probe_line(figures)
    return "  ".join(f"{k} {v:.4g}" for k, v in figures.items() if isinstance(v, int | float))


def _features_lines(features: Mapping[str, Any] | None) -> list[str]:
    """Return what was done to the data that features were judged on."""
    if features is None:
        return []
    transfer = features["transfer"]
    told = [f"transfer from {transfer['from']} to {transfer['to']}"] if transfer else []
    return told + [f"features: {note}" for note in features["notes"]]


def _probe_line(figures: Mapping[str, Any]) -> str:
    parts = [_accuracies(figures)]
    if "k" in figures:
        fewer = figures["fewer"]
        parts += [f"k {figures['k']}", f"(k {fewer['k']}: {_accuracies(fewer)})"]
    if "l2" in figures:
        parts.append(
            f"l2 {figures['l2']:.3g}, chosen on {figures['choosing_images']:,} {figures['chosen_on']}"
        )
    sizes = f"{figures['train_images']:,} train images, {figures['num_features']:,} features"
    return "  ".join([*parts, sizes, f"n {figures['n']:,}"])


def _few_shot_line(figures: Mapping[str, Any]) -> str:
    told = [
        f"{task['shots']}-shot {task['head']} {100 * task['accuracy']:.2f} ± {100 * task['half_interval']:.2f} %"
        for task in figures["tasks"]
    ]
    return "  ".join([f"{figures['ways']}-way", *told, f"{figures['episodes']} episodes"])


def _accuracies(figures: Mapping[str, Any]) -> str:
    titles = (("top1", "top-1"), ("balanced", "balanced"), ("macro_f1", "macro-F1"))
    return "  ".join(f"{title} {100 * figures[key]:.2f} %" for key, title in titles)


def _robust_line(figures: Mapping[str, Any]) -> str:
    from pretask.attacks import in_255ths

    clean, robust = 100 * figures["clean_top1"], 100 * figures["robust_top1"]
    return (
        f"clean {clean:.2f} %  robust {robust:.2f} %  eps {in_255ths(figures['epsilon'])}  n {figures['n']}"
    )


def prediction_lines(answers: Sequence[Mapping[str, Any]], format: str) -> list[str]:
    """Return labels of pictures as a table, CSV (one line per picture and class) or JSON."""
    if format == "json":
        return [json.dumps(list(answers), indent=2)]
    if format == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("image", "rank", "label", "probability"))
        for answer in answers:
            for rank, named in enumerate(answer["top"], 1):
                writer.writerow((answer["image"], rank, named["label"], f"{named['probability']:.6f}"))
        return text.getvalue().splitlines()
    width = max((len(answer["image"]) for answer in answers), default=0)
    return [
        f"{answer['image']:<{width}}  "
        + "  ".join(f"{n['label']} {100 * n['probability']:.1f} %" for n in answer["top"])
        for answer in answers
    ]


def explanation_lines(told: Mapping[str, Any]) -> list[str]:
    """Return what `pretask explain` found: the answers, how well classes part, and where the pictures are."""
    lines = []
    for row in told.get("attention", ()):
        answers = "  ".join(
            f"{name}: {answer['label']} {100 * answer['probability']:.0f} %"
            for name, answer in row["answers"].items()
        )
        truth = "" if row["label"] is None else f" ({row['label']})"
        lines.append(f"{row['image']}{truth}  {answers}")
    for name, figures in told.get("separation", {}).items():
        silhouette = figures["silhouette"]
        apart = "" if silhouette is None else f"silhouette {silhouette:.3f}  "
        neighbours = 100 * figures["neighbours"]
        lines.append(f"{name}  {apart}5 neighbours {neighbours:.2f} %  of {told['points']:,} images")
    return [*lines, *(f"wrote {path}" for path in told["files"].values())]
