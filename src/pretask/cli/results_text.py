"""Results, evaluations and predictions as lines of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pretask.errors import printable
from pretask.io.documents import csv_text


def run_lines(results: Mapping[str, Any]) -> list[str]:
    """Return what a run of any kind ended with, and what can be done with it."""
    kinds = {"supervised": results_lines, "pretraining": pretraining_lines, "episodes": few_shot_lines}
    return kinds[results["kind"]](results)


def results_lines(results: Mapping[str, Any]) -> list[str]:
    """Return a line per inference of a run's results, and where they are."""
    from pretask.evaluation.accuracy import Accuracy
    from pretask.evaluation.base import headline_parts

    lines = []
    for name, of_weights in results["inferences"].items():
        for which in ("selected", "last"):
            test = of_weights[which].get("test")
            if test:
                lines.append(f"{name:<11} {which:<8} test {'  '.join(headline_parts(Accuracy(), test))}")
    if results["optimistic"]:
        lines.append("selected on the test set: the selected numbers are optimistic")
    return [*lines, f"report: {results['folder']}/report.html"]


def pretraining_lines(results: Mapping[str, Any]) -> list[str]:
    """Return what a pre-training ended with, and what can be done with it."""
    folder, lines = results["folder"], []
    for entry in results["embeddings"].values():
        neighbours = entry.get("top1")
        top1 = "" if neighbours is None else f"validation top-1 of neighbours {100 * neighbours:.2f} %  "
        lines.append(f"{top1}spread {entry['spread']:.2f}  effective rank {entry['effective_rank']:.1f}")
    return [
        *lines,
        f"next: pretask evaluate {folder} --protocol knn linear",
        f"  or: pretask train --init {folder} --data … --label-fraction 0.1",
        f"report: {folder}/report.html",
    ]


def few_shot_lines(results: Mapping[str, Any]) -> list[str]:
    """Return what a training by episodes ended with: a line per inference, on classes never seen."""
    lines = [
        f"{name:<11} test {100 * entry['top1']:.2f} ± {100 * entry['half_interval']:.2f} %"
        for name, entry in results["few_shot"].items()
    ]
    return [results["protocol"], *lines, f"report: {results['folder']}/report.html"]


def evaluation_lines(evaluation: Mapping[str, Any], format: str, width: int | None = None) -> list[str]:
    """Return an evaluation as a table for people, in lines of at most `width` where it is given, or as JSON."""
    if format == "json":
        return json.dumps(evaluation, indent=2).split("\n")
    from pretask.evaluation.run import headlines

    lines = [f"{evaluation['run']} on {evaluation['data']}"]
    lines += [f"note: {note}" for note in evaluation.get("notes", ())]
    lines += _features_lines(evaluation.get("features"))
    for spec, printed in headlines(evaluation).items():
        entry = evaluation["protocols"][spec]
        lines += _wrapped(entry["protocol"].split(" "), " ", width, indent=2)
        lines += [f"features: {note}" for note in entry.get("notes", ())]
        for name, parts in printed.items():
            first, *rest = parts or [""]
            lines += _wrapped([f"{name:<11} {first}", *rest], "  ", width, indent=12)
    return lines


def _wrapped(parts: Sequence[str], between: str, width: int | None, indent: int) -> list[str]:
    """Return parts on one line, or on as many as the width needs, no part on two."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}{between}{part}"
        if width is None or len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(" " * indent + part)
    return lines


def _features_lines(features: Mapping[str, Any] | None) -> list[str]:
    """Return what was done to the data that features were judged on."""
    if features is None:
        return []
    transfer = features["transfer"]
    lines = [f"transfer from {transfer['from']} to {transfer['to']}"] if transfer else []
    return lines + [f"features: {note}" for note in features["notes"]]


def prediction_lines(answers: Sequence[Mapping[str, Any]], format: str) -> list[str]:
    """Return labels of pictures as a table, CSV (one line per picture and class) or JSON."""
    if format == "json":
        return json.dumps(list(answers), indent=2).split("\n")
    if format == "csv":
        with_sets = any("set" in answer for answer in answers)
        rows = [
            [answer["image"], str(rank), named["label"], f"{named['probability']:.6f}"]
            + (["yes" if named in answer["set"] else "no"] if with_sets else [])
            for answer in answers
            for rank, named in enumerate(_shown(answer), 1)
        ]
        header = ["image", "rank", "label", "probability", "in_set"][: 5 if with_sets else 4]
        return csv_text([header, *rows]).rstrip("\n").split("\n")
    width = max((len(printable(answer["image"])) for answer in answers), default=0)
    return [f"{printable(answer['image']):<{width}}  " + _answer_words(answer) for answer in answers]


def _shown(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the classes to name: as many as asked for, and all of the set of answers."""
    asked, several = answer["top"], answer.get("set", [])
    return list(several if len(several) > len(asked) else asked)


def _answer_words(answer: Mapping[str, Any]) -> str:
    """Return what a picture shows; where a set of answers was asked for, whether the model knows."""
    words = "  ".join(f"{named['label']} {100 * named['probability']:.1f} %" for named in _shown(answer))
    unsure = {0: "don't know, not sure enough of ", 1: ""}.get(
        len(answer.get("set", [answer])), "don't know: "
    )
    return unsure + words


def explanation_lines(explained: Mapping[str, Any]) -> list[str]:
    """Return what `pretask explain` found: the answers, how well classes part, and where the pictures are."""
    lines = [f"note: {note}" for note in explained.get("notes", ())]
    for row in explained.get("attention", ()):
        answers = "  ".join(
            f"{name}: {answer['label']} {100 * answer['probability']:.0f} %"
            for name, answer in row["answers"].items()
        )
        truth = "" if row["label"] is None else f" ({row['label']})"
        lines.append(f"{row['image']}{truth}  {answers}")
    for name, entry in explained.get("separation", {}).items():
        silhouette = entry["silhouette"]
        apart = "" if silhouette is None else f"silhouette {silhouette:.3f}  "
        neighbours = 100 * entry["neighbours"]
        lines.append(f"{name}  {apart}5 neighbours {neighbours:.2f} %  of {explained['points']:,} images")
    return [*lines, *(f"wrote {path}" for path in explained["files"].values())]
