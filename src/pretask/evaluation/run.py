"""Evaluates a trained run by named protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretask.data import ImageData, load_data
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS, Evaluator
from pretask.evaluation.adversarial import Robustness
from pretask.methods import ModelCard, load_classifier, read_card
from pretask.training.build import build_data
from pretask.training.config_files import load_config
from pretask.training.device import resolve_device


def evaluate_run(
    folder: Path | str,
    protocols: Sequence[str] = ("accuracy",),
    inference: str | None = None,
    split: str = "test",
    data: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    epsilon: float | None = None,
) -> dict[str, Any]:
    """Evaluate a run's classifier on its own data, split as it was for training, or on other data as it is.

    Args:
        folder: a run folder; an export too, where `data` is given.
        protocols: names of evaluators.
        inference: one way to answer; None takes all that the run offers, and the default one under attack.
        split: "train", "validation" or "test".
        data: other data with the same class names, of which `split` is used; brought to the model's image size.
        batch_size: images in a forward pass.
        device: "auto", "cpu" or "cuda".
        epsilon: radius of attacks in pixel values of [0, 1]; None for what each protocol stands for.

    Returns:
        {"run", "data", "protocols": {name: {"protocol": …, "inferences": {inference: figures}}}}.

    Raises:
        PretaskError: no such run, evaluator, inference or split; data with other classes; an epsilon that is
            outside [0, 1] or for no attack.
    """
    path, where = Path(folder), resolve_device(device)
    card = read_card(path)
    options = {"split": split, "batch_size": batch_size, "device": where}
    evaluators = {name: _evaluator(name, epsilon, options) for name in protocols}
    if epsilon is not None and not any(isinstance(made, Robustness) for made in evaluators.values()):
        raise PretaskError(
            f"epsilon is the radius of an attack, and none is among {', '.join(protocols)}: type --protocol pgd20"
        )
    images = _run_data(path) if data is None else _other_data(data, card)
    if images.class_names != card.class_names:
        raise PretaskError(
            f"{images.name} has the classes {_some(images.class_names)}, the model knows {_some(card.class_names)}: "
            "give data with the same class names"
        )
    answers = {}
    for name, evaluator in evaluators.items():
        figures = {
            mode: evaluator(load_classifier(path, mode).to(where), images)
            for mode in _modes(evaluator, card, inference)
        }
        answers[name] = {"protocol": evaluator.protocol, "inferences": figures}
    return {"run": str(path), "data": images.name, "protocols": answers}


def _evaluator(name: str, epsilon: float | None, options: dict[str, Any]) -> Evaluator:
    make = EVALUATORS.get(name)
    if epsilon is not None and isinstance(make, type) and issubclass(make, Robustness):
        return make(epsilon=epsilon, **options)
    return make(**options)


def _modes(evaluator: Evaluator, card: ModelCard, inference: str | None) -> list[str]:
    if inference is not None:
        return [inference]
    # Under attack an image costs tens to hundreds of passes, for each view that an inference averages.
    return [card.inference] if isinstance(evaluator, Robustness) else list(card.inferences)


def _run_data(folder: Path) -> ImageData:
    path = folder / "config.yaml"
    if not path.is_file():
        raise PretaskError(
            f"{folder} is an export, which does not know its data: type --data, or give the run folder"
        )
    return build_data(load_config(path))


def _other_data(source: str, card: ModelCard) -> ImageData:
    data = load_data(source, image_size=card.image_size, channels=card.channels)
    # What counts as many or few is what the model was trained on, not what it is judged on.
    counts = card.facts.get("class_counts")
    return replace(data, train_counts=None if counts is None else tuple(counts))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
