"""Evaluates a trained run by named protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pretask.data import ImageData, apply_splits, load_data
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS, Evaluator
from pretask.evaluation.adversarial import Robustness
from pretask.evaluation.features import FeatureEvaluator
from pretask.methods import ModelCard, load_classifier, load_encoder, read_card, require_head
from pretask.training.build import build_data
from pretask.training.config_files import load_any_config
from pretask.training.device import resolve_device

OTHER_VALIDATION = 0.1
"""Of other data without a validation set, the share of the train images to choose by."""


@dataclass(frozen=True)
class LabelBudget:
    """How many labels protocols on features may learn from; all of the train images' where nothing is given.

    Attributes:
        per_class: images of each class.
        fraction: share of each class.
        seed: chooses them; the run's where None.
    """

    per_class: int | None = None
    fraction: float | None = None
    seed: int | None = None

    @property
    def limited(self) -> bool:
        """Whether it leaves any labels out."""
        return self.per_class is not None or self.fraction is not None


def evaluate_run(
    folder: Path | str,
    protocols: Sequence[str] = ("accuracy",),
    inference: str | None = None,
    split: str = "test",
    data: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    epsilon: float | None = None,
    labels: LabelBudget = LabelBudget(),
) -> dict[str, Any]:
    """Evaluate a run on its own data, split as it was for training, or on other data.

    Protocols on features (knn, linear, ridge) fit something on the train images' features, with or without a class
    head in the run. They take data with any classes, which are then split as for a training: a transfer. All others
    judge the run's answers, on data with its classes, taken as it is.

    Args:
        folder: a run folder; an export too, where `data` is given.
        protocols: names of evaluators.
        inference: one way to answer; None takes all that the run offers, and the default one under attack.
        split: "train", "validation" or "test".
        data: other data, of which `split` is used; brought to the model's image size and channels.
        batch_size: images in a forward pass.
        device: "auto", "cpu" or "cuda".
        epsilon: radius of attacks in pixel values of [0, 1]; None for what each protocol stands for.
        labels: what protocols on features may learn from.

    Returns:
        {"run", "data", "trained_on", "notes", "protocols": {name: {"protocol": …, "inferences": {inference:
        figures}}}}; protocols on features have the one inference "features".

    Raises:
        PretaskError: no such run, evaluator, inference or split; a run without a class head where one is needed; data
            with other classes; an epsilon that is outside [0, 1] or for no attack; a number of labels for no protocol
            on features.
    """
    path, where = Path(folder), resolve_device(device)
    card = read_card(path)
    options = {"split": split, "batch_size": batch_size, "device": where}
    evaluators = {name: _evaluator(name, epsilon, options) for name in protocols}
    on_features = {n: e for n, e in evaluators.items() if isinstance(e, FeatureEvaluator)}
    on_answers = {n: e for n, e in evaluators.items() if n not in on_features}
    _check_options(protocols, evaluators, epsilon, labels)
    answers: dict[str, Any] = {}
    images = None
    if on_answers:
        images = _answered_data(path, card, data)
        answers |= {n: _judge_answers(e, path, card, images, inference, where) for n, e in on_answers.items()}
    if on_features:
        images = _fitted_data(path, card, data, labels)
        encoder = load_encoder(path).to(where)
        answers |= {
            name: {"protocol": e.protocol, "inferences": {"features": e(encoder, images)}}
            for name, e in on_features.items()
        }
    assert images is not None
    return {
        "run": str(path),
        "data": images.name,
        "trained_on": card.facts.get("data", ""),
        "notes": list(images.notes) if on_features else [],
        "protocols": {name: answers[name] for name in protocols},
    }


def _evaluator(name: str, epsilon: float | None, options: dict[str, Any]) -> Evaluator:
    make = EVALUATORS.get(name)
    if epsilon is not None and isinstance(make, type) and issubclass(make, Robustness):
        return make(epsilon=epsilon, **options)
    return make(**options)


def _check_options(
    protocols: Sequence[str], evaluators: dict[str, Evaluator], epsilon: float | None, labels: LabelBudget
) -> None:
    made = evaluators.values()
    if not protocols:
        raise PretaskError(
            "no protocol is named: type --protocol accuracy, or another of `pretask list evaluators`"
        )
    if epsilon is not None and not any(isinstance(one, Robustness) for one in made):
        raise PretaskError(
            f"epsilon is the radius of an attack, and none is among {', '.join(protocols)}: type --protocol pgd20"
        )
    if labels.limited and not any(isinstance(one, FeatureEvaluator) for one in made):
        raise PretaskError(
            f"a number of labels is for protocols that learn from them, and none is among {', '.join(protocols)}: "
            "type --protocol linear"
        )


def _judge_answers(
    evaluator: Evaluator,
    path: Path,
    card: ModelCard,
    images: ImageData,
    inference: str | None,
    where: torch.device,
) -> dict[str, Any]:
    figures = {
        mode: evaluator(load_classifier(path, mode).to(where), images)
        for mode in _modes(evaluator, card, inference)
    }
    return {"protocol": evaluator.protocol, "inferences": figures}


def _modes(evaluator: Evaluator, card: ModelCard, inference: str | None) -> list[str]:
    if inference is not None:
        return [inference]
    # Under attack an image costs tens to hundreds of passes, for each view that an inference averages.
    return [card.inference] if isinstance(evaluator, Robustness) else list(card.inferences)


def _answered_data(path: Path, card: ModelCard, data: str | None) -> ImageData:
    require_head(path, card)
    images = _run_data(path) if data is None else _other_data(data, card)
    if images.class_names != card.class_names:
        raise PretaskError(
            f"{images.name} has the classes {_some(images.class_names)}, the model knows {_some(card.class_names)}: "
            "give data with the same class names"
        )
    return images


def _fitted_data(path: Path, card: ModelCard, data: str | None, labels: LabelBudget) -> ImageData:
    """Return data whose train images are those that may be learned from."""
    seed = labels.seed if labels.seed is not None else int(card.facts.get("seed", 0))
    if data is None:
        images, validation = _run_data(path), 0.0
        if images.num_classes < 2:
            raise PretaskError(
                f"{images.name} has no classes to judge features by: type --data with images that have"
            )
    else:
        images = load_data(data, image_size=card.image_size, channels=card.channels)
        validation = OTHER_VALIDATION
    return apply_splits(
        images, validation=validation, per_class=labels.per_class, label_fraction=labels.fraction, seed=seed
    )


def _run_data(folder: Path) -> ImageData:
    path = folder / "config.yaml"
    if not path.is_file():
        raise PretaskError(
            f"{folder} is an export, which does not know its data: type --data, or give the run folder"
        )
    return build_data(load_any_config(path))


def _other_data(source: str, card: ModelCard) -> ImageData:
    data = load_data(source, image_size=card.image_size, channels=card.channels)
    # What counts as many or few is what the model was trained on, not what it is judged on.
    counts = card.facts.get("class_counts")
    return replace(data, train_counts=None if counts is None else tuple(counts))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
