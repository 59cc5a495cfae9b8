"""Labels in doubt: what a network says of pictures that it was not trained on, against the labels they have."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretask import tasks
from pretask.checks import findings as kinds
from pretask.checks.findings import Finding
from pretask.checks.pictures import Pictures
from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.data.images.containers import LabelledImages, RawData
from pretask.data.loaders.loader import in_memory
from pretask.data.prepare import MEMORY_LIMIT, prepare
from pretask.errors import import_extra
from pretask.evaluation.accuracy import Accuracy
from pretask.methods import load_classifier
from pretask.tasks.foresee import seconds_per_image
from pretask.training.data import largest_side
from pretask.training.device import resolve_device

FOLDS = 3
"""Parts of the pictures, each judged by a network that learned from the others."""
JUDGES = (("resnet8", 32, 1.0), ("resnet20", 32, 3.3), ("resnet20", 48, 7.5))
"""What judges where no network is asked for: network, side of the pictures, cost of a picture in units of the first."""
EPOCHS = 15
"""Passes over the pictures without which a larger network is not taken."""
FEWEST = 2 * FOLDS
"""Pictures of a class without which its labels are not judged."""
BETTER = 0.1
"""By how much the networks must beat the answer that is always the largest class."""
_END_SHARE = 0.15
"""Of a fold's time, for its set-up and its answers."""


@dataclass(frozen=True)
class Judgement:
    """What networks make of the labels.

    Attributes:
        found: labels in doubt, the least likely first.
        right: share of the pictures for which the networks give the label they have.
        largest: share of the largest class.
        seconds: that it took.
    """

    found: Sequence[Finding]
    right: float
    largest: float
    seconds: float

    @property
    def words(self) -> str:
        """What the doubts are worth, in a line."""
        share = f"networks that did not see them agree with {100 * self.right:.0f} % of the labels"
        if self.right < self.largest + BETTER:
            return f"{share}: too few to doubt any; give more --time"
        return share


def import_cleanlab() -> Any:
    """Return what ranks labels.

    Raises:
        MissingExtra: cleanlab is not installed.
    """
    return import_extra("cleanlab.filter", "check", "to find labels in doubt, check")


def sensible_seconds(images: int) -> float:
    """Return the time where none is given: 2 minutes for 2,000 pictures, as their square root, 30 s to 15 min."""
    return min(900.0, max(30.0, 120 * math.sqrt(images / 2_000)))


def judge_labels(
    pictures: Pictures, good: Sequence[int], sets: Sequence[int], config: RunConfig, seconds: float
) -> Judgement:
    """Train a network on each part of the pictures but one, and let it judge that one.

    Args:
        pictures: that are checked.
        good: those that can be read.
        sets: a number for each of `good`; pictures of one number are copies and stay in one fold.
        config: of the trainings; where it leaves the network open, the largest of `JUDGES` that the time allows.
        seconds: for all of it.

    Raises:
        MissingExtra: cleanlab is not installed.
        PretaskError: as `pretask.train`.
    """
    cleanlab, started = import_cleanlab(), time.monotonic()
    config, data = _prepared(pictures, good, config, seconds)
    folds = deal(data.train.labels, sets, config.session.seed)
    probabilities = np.zeros((len(good), data.num_classes))
    with TemporaryDirectory(prefix="pretask-check-") as place:
        for number in range(FOLDS):
            left = seconds - (time.monotonic() - started)
            limit = max(1.0, (1 - _END_SHARE) * left / (FOLDS - number))
            rows = (folds == number).nonzero().flatten()
            if len(rows) and len(rows) < len(folds):
                of_fold = replace(
                    data,
                    train=data.train.subset((folds != number).nonzero().flatten()),
                    test=data.train.subset(rows),
                    mean=None,
                    std=None,
                )
                probabilities[rows.numpy()] = _answers(config, of_fold, limit, Path(place), number)
    labels = data.train.labels.numpy()
    counts = np.bincount(labels, minlength=data.num_classes)
    right, largest = float((probabilities.argmax(1) == labels).mean()), float(counts.max() / counts.sum())
    doubted: list[Finding] = []
    if right >= largest + BETTER:
        doubted = _doubted(cleanlab, labels, probabilities, counts, pictures, good)
    return Judgement(doubted, right, largest, time.monotonic() - started)


def _doubted(
    cleanlab: Any,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    counts: NDArray[np.int64],
    pictures: Pictures,
    good: Sequence[int],
) -> list[Finding]:
    ranked = cleanlab.find_label_issues(
        labels=labels, pred_probs=probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    found = []
    for row in ranked.tolist():
        answer, label = int(probabilities[row].argmax()), int(labels[row])
        if counts[label] >= FEWEST and answer != label:
            note = f"looks like {pictures.class_names[answer]} ({100 * probabilities[row, answer]:.0f} %)"
            found.append(Finding(kinds.LABEL, float(probabilities[row, label]), good[row], note=note))
    return found


def _prepared(
    pictures: Pictures, good: Sequence[int], config: RunConfig, seconds: float
) -> tuple[RunConfig, ImageData]:
    """Return the configuration of the trainings, and the good pictures of all splits as train images."""
    is_open = config.backbone.backbone == "auto" and not config.backbone.published
    size, raw = config.data.image_size, pictures.raw
    chosen = torch.tensor(good)
    everything = LabelledImages(pictures.images.subset(chosen), pictures.labels[chosen])
    data = prepare(
        RawData(raw.name, {"train": everything}, raw.class_names, raw.channels, raw.image_size, raw.augment),
        image_size=None if size is None else (size, size),
        channels=config.data.channels,
        skip_bad=False,
        memory_limit=MEMORY_LIMIT,
        largest=max(side for _, side, _ in JUDGES) if is_open else largest_side(config),
    )
    if is_open:
        network, side = _affordable(config, data, seconds)
        config = override(config, backbone=network)
        if size is None and max(data.image_size) > side:
            data = replace(data, image_size=(side, side))
    augment = data.augment if config.data.augment == "auto" else config.data.augment
    decoded = in_memory(data.train, data.image_size, resolve_device(config.session.device), augment)
    return config, replace(data, train=decoded)


def _affordable(config: RunConfig, data: ImageData, seconds: float) -> tuple[str, int]:
    """Return the largest network, with its side, that passes over the pictures `EPOCHS` times within the time."""
    first, side, _ = JUDGES[0]
    size = (side, side) if max(data.image_size) > side else data.image_size
    grey = (0.5,) * data.channels
    noise = replace(data, image_size=size, mean=grey, std=grey)
    task = tasks.Supervised.read(override(config, backbone=first), noise)
    task.decide(resolve_device(config.session.device))
    passes = (FOLDS - 1) * len(data.train) * EPOCHS * seconds_per_image(task, task.build())
    paid = [judge for judge in JUDGES if judge[2] * passes <= (1 - _END_SHARE) * seconds]
    network, side, _ = paid[-1] if paid else JUDGES[0]
    return network, side


def _answers(
    config: RunConfig, data: ImageData, seconds: float, place: Path, number: int
) -> NDArray[np.float64]:
    """Return the probabilities of a network that learned from the train images, for the test images: [n, N]."""
    config = override(
        config,
        max_seconds=seconds,
        validation=0,
        test=False,
        selection="last",
        runs=str(place),
        name=f"fold{number}",
    )
    results = tasks.train(config, data, report=False)
    device = resolve_device(config.session.device)
    classifier = load_classifier(place / f"fold{number}", results["default_inference"]).to(device)
    logits = Accuracy("test", device=device).predictions(classifier, data).logits
    probabilities: NDArray[np.float64] = logits.double().softmax(1).cpu().numpy()
    return probabilities


def deal(labels: Tensor, sets: Sequence[int], seed: int) -> Tensor:
    """Deal pictures to folds, class by class in turn, so that each fold has its share of every class: int64 [n].

    Args:
        labels: int64 [n].
        sets: a number for each picture; those of one number come into one fold.
        seed: draws the order.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order[labels[order].argsort(stable=True)]
    fold_of: dict[int, int] = {}
    for i in order.tolist():
        fold_of.setdefault(sets[i], len(fold_of) % FOLDS)
    return torch.tensor([fold_of[number] for number in sets])
