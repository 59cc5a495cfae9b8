"""What a job says at its end: how good the model is, where it errs, and what self-supervision was worth here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pretask.data import ImageData
from pretask.evaluation.accuracy import Accuracy
from pretask.evaluation.metrics import confused_pairs
from pretask.methods import load_classifier
from pretask.reports.html import THUMBNAIL, thumbnail
from pretask.statistics import Difference, paired_share_difference, share_interval
from pretask.training.run_folder import RunFolder

WORST, PAIRS, OF_EACH_PAIR = 24, 6, 6
CONTROL = "baseline"
FEW_TO_JUDGE = 20
MANY_EPOCHS = 60
"""Of plain training, below which a comparison is said to be of short trainings."""


def judge(folder: Path, data: ImageData, pictures: ImageData, device: torch.device) -> dict[str, Any]:
    """Return what the model in a folder makes of the test images: accuracy, interval, errors with thumbnails.

    Args:
        folder: of the model.
        data: as it sees them.
        pictures: the same at their own size, for thumbnails.
        device: where to compute.
    """
    if (test := pictures.test) is None:
        words = "There are no test images: nothing says how good this is on new pictures"
        return {"words": words, "worst": [], "pairs": []}
    classifier = load_classifier(folder).to(device)
    predictions = Accuracy("test", device=device).predictions(classifier, data)
    probabilities = predictions.logits.softmax(1)
    best, answers = probabilities.max(1)
    wrong = (answers != predictions.labels).nonzero().flatten()
    right, n = len(answers) - len(wrong), len(answers)
    low, high = share_interval(right, n)
    share = f"{100 * right / n:.1f} % of {n:,} test images are right"
    words = f"{share} (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    if n < FEW_TO_JUDGE:
        words += "; so few say little"
    worst = wrong[best[wrong].argsort(descending=True)][:WORST]

    def shown(i: int) -> dict[str, Any]:
        return {
            "name": test.images.describe(i),
            "truth": data.class_names[int(predictions.labels[i])],
            "answer": data.class_names[int(answers[i])],
            "probability": float(best[i]),
            "picture": thumbnail(test.images.fitted(i, (THUMBNAIL, THUMBNAIL))),
        }

    pairs = []
    for truth, answer, count in confused_pairs(predictions.logits, predictions.labels, PAIRS):
        rows = ((predictions.labels == truth) & (answers == answer)).nonzero().flatten()[:OF_EACH_PAIR]
        names = data.class_names[truth], data.class_names[answer]
        pairs.append(
            {"truth": names[0], "answer": names[1], "count": count, "shown": [shown(int(i)) for i in rows]}
        )
    return {
        "words": words,
        "top1": right / n,
        "low": low,
        "high": high,
        "n": n,
        "worst": [shown(int(i)) for i in worst],
        "pairs": pairs,
    }


def worth(
    rounds: Sequence[Mapping[str, Any]],
    race: Path,
    data: Callable[[int | None], ImageData],
    device: torch.device,
) -> dict[str, Any]:
    """Return what self-supervision was worth: the best way of learning against the control, on the same network.

    The two are compared in the longest round in which both took part, on the same validation images.

    Args:
        rounds: of the race.
        race: folder of its trials.
        data: returns it, split, for a size of images.
        device: where to compute.
    """
    for of_round in reversed(rounds):
        found = {name: of for name, of in of_round["found"].items() if of.get("folder")}
        controls = [name for name in found if name.endswith(f", {CONTROL}")]
        others = [name for name in found if name not in controls]
        if of_round["stage"] != "learning" or not controls or not others:
            continue
        best, control = max(others, key=lambda name: found[name]["top1"]), controls[0]
        with_it, without = (
            _right(race / found[name]["folder"], data(found[name]["image_size"]), device)
            for name in (best, control)
        )
        difference = paired_share_difference(with_it, without)
        return {
            "words": _verdict(
                best.partition(", ")[2],
                difference,
                of_round["seconds"],
                (found[best]["epochs"], found[control]["epochs"]),
            ),
            "best": best,
            "control": control,
            "difference": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "n": difference.n,
            "seconds": of_round["seconds"],
        }
    return {"words": "Self-supervision was not compared with plain training"}


def _verdict(way: str, found: Difference, seconds: float, epochs: tuple[int, int]) -> str:
    """Return the comparison in words.

    Args:
        way: of learning, the best beside the control.
        found: its share of right answers less the control's.
        seconds: of each trial.
        epochs: of the two.
    """
    assert found.low is not None and found.high is not None
    points = f"{100 * found.mean:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    trials = f"trials of {seconds:.0f} s ({epochs[0]} epochs, {epochs[1]} of plain training)"
    measured = f"{points} by {way} in {trials}, {found.n} validation images"
    longer = "; longer trainings can differ" if epochs[1] < MANY_EPOCHS else ""
    if found.low > 0:
        return f"Self-supervision helps here: {measured}"
    if found.high < 0:
        return f"Self-supervision does not help here: {measured}{longer}"
    return f"Too close to say whether self-supervision helps here: {measured}{longer}"


def _right(run: Path, data: ImageData, device: torch.device) -> list[bool]:
    """Return for each validation image whether a trial's model is right."""
    classifier = load_classifier(run, RunFolder(run).read_results()["default_inference"]).to(device)
    found = Accuracy("validation", device=device).predictions(classifier, data)
    return [bool(right) for right in (found.logits.argmax(1) == found.labels).tolist()]
