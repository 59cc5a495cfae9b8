"""Evaluates a trained run by named protocols, on its own data or others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretask.config.files import load_any_config
from pretask.data import ImageData, apply_splits, load_data
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS, Evaluator
from pretask.evaluation.adversarial import Robustness
from pretask.evaluation.features import FeatureBank, FeatureEvaluator
from pretask.methods import ModelCard, load_classifier, load_encoder, no_head, read_card
from pretask.training.data import build_data, split_seed
from pretask.training.device import resolve_device


def read_data(folder: Path, source: str | None, card: ModelCard) -> ImageData:
    """Return the run's own data, or what `source` names as it is, at the model's image size and channels.

    Raises:
        PretaskError: the folder is an export, which has no data of its own; data that cannot be read.
    """
    if source is not None:
        return load_data(source, image_size=card.image_size, channels=card.channels)
    path = folder / "config.yaml"
    if not path.is_file():
        raise PretaskError(
            f"{folder} is an export, which does not know its data: type --data, or give the run folder"
        )
    return build_data(load_any_config(path))


def for_heads(data: ImageData, card: ModelCard, own: bool) -> ImageData:
    """Return data of which a class head can be asked, with the images of each class that it was trained on.

    Raises:
        PretaskError: other class names than the model's.
    """
    if data.class_names != card.class_names:
        raise PretaskError(
            f"{data.name} has the classes {_some(data.class_names)}, the model knows {_some(card.class_names)}: "
            "give data with the same class names"
        )
    if own:
        return data
    # What counts as many or few is what the model was trained on, not what it is judged on.
    counts = card.facts.get("class_counts")
    return replace(data, train_counts=None if counts is None else tuple(counts))


def for_probes(
    data: ImageData,
    own: bool,
    split_seed: int,
    per_class: int | None,
    label_fraction: float | None,
    seed: int,
) -> ImageData:
    """Return data to fit probes on: others are split, and the train images reduced to the labels allowed.

    Args:
        data: see `read_data`.
        own: whether it is the run's, and split.
        split_seed: of the splits of other data.
        per_class, label_fraction: see `apply_splits`.
        seed: chooses the labels.

    Raises:
        PretaskError: data without classes; see `apply_splits`.
    """
    if data.num_classes < 2:
        raise PretaskError(
            f"{data.name} has no classes to judge features by: type --data with images that have"
        )
    split = data if own else _split(data, split_seed)
    # Without validation images of its own a run keeps none: a probe then holds out some of the labels it may use.
    return apply_splits(split, validation=0, per_class=per_class, label_fraction=label_fraction, seed=seed)


def _split(data: ImageData, seed: int) -> ImageData:
    try:
        return apply_splits(data, seed=seed)
    except PretaskError:
        raise PretaskError(
            f"{data.name} has {len(data.train)} train images of {data.num_classes} classes, too few to hold out "
            "test and validation images: give more of each class, or data with test and validation images"
        ) from None


def seed_of(folder: Path, card: ModelCard) -> int:
    """Return the seed of a run's splits; that of its card where the folder is an export."""
    path = folder / "config.yaml"
    if not path.is_file():
        return int(card.facts.get("seed", 0))
    return split_seed(load_any_config(path))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


FEATURES = "features"
"""Stands for the inference where a protocol uses the features alone."""


def evaluate_run(
    folder: Path | str,
    protocols: Sequence[str] = ("accuracy",),
    inference: str | None = None,
    split: str = "test",
    data: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    epsilon: float | None = None,
    per_class: int | None = None,
    label_fraction: float | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Evaluate a run on its own data, split as it was for training, or on other data.

    Protocols that ask the class head take other data as it is, with the same class names. Protocols on features
    need no head: they take any classes, and other data is split as for a training.

    Args:
        folder: a run folder; an export too, where `data` is given.
        protocols: names of evaluators.
        inference: one way to answer; None takes all that the run offers, and the default one under attack.
        split: "train", "validation" or "test".
        data: other data, of which `split` is used; brought to the model's image size and channels.
        batch_size: images in a forward pass.
        device: "auto", "cpu" or "cuda".
        epsilon: radius of attacks in pixel values of [0, 1]; None for what each protocol stands for.
        per_class: train images of each class that protocols on features may learn from.
        label_fraction: the same as a share of each class.
        seed: chooses these images; None is the seed of the run's splits.

    Returns:
        {"run", "data", "protocols": {name: {"protocol": …, "inferences": {inference: figures}}}}; with protocols on
        features, whose only inference is "features", also "features": {"transfer": None or {"from", "to"},
        "per_class", "label_fraction", "seed", "notes": what was done to the splits}.

    Raises:
        PretaskError: no such run, evaluator, inference or split; a head is asked for that is not there, or about
            other classes; an epsilon that is outside [0, 1] or for no attack; labels for no protocol on
            features, or more than there are.
    """
    path, where = Path(folder), resolve_device(device)
    card = read_card(path)
    split_seed = seed_of(path, card) if any(map(uses_features, protocols)) else 0
    label_seed = split_seed if seed is None else seed
    options = {"split": split, "batch_size": batch_size, "device": where}
    evaluators = {name: _evaluator(name, epsilon, label_seed, options) for name in protocols}
    probes = [made for made in evaluators.values() if isinstance(made, FeatureEvaluator)]
    labels = {"per_class": per_class, "label_fraction": label_fraction}
    _check_options(evaluators, epsilon, inference, labels={**labels, "seed": seed})
    has_heads = len(probes) < len(evaluators)
    if has_heads and not card.inferences:
        raise no_head(path)

    own, images = data is None, read_data(path, data, card)
    answer: dict[str, Any] = {"run": str(path), "data": images.name, "protocols": {}}
    asked = for_heads(images, card, own) if has_heads else images
    if probes:
        split_images = for_probes(images, own, split_seed, per_class, label_fraction, label_seed)
        bank = FeatureBank(load_encoder(path, card).to(where), split_images, probes[0])
        answer["features"] = {
            "transfer": None if own else _transfer(card, images),
            **labels,
            "seed": label_seed,
            "notes": list(split_images.notes),
        }
    for name, evaluator in evaluators.items():
        if isinstance(evaluator, FeatureEvaluator):
            figures = {FEATURES: evaluator.judge(bank)}
        else:
            figures = {
                mode: evaluator(load_classifier(path, mode, card).to(where), asked)
                for mode in _modes(evaluator, card, inference)
            }
        answer["protocols"][name] = {"protocol": evaluator.protocol, "inferences": figures}
    return answer


def uses_features(name: str) -> bool:
    """Whether an evaluator needs a backbone alone, without a class head."""
    make = EVALUATORS.get(name)
    return isinstance(make, type) and issubclass(make, FeatureEvaluator)


def _evaluator(name: str, epsilon: float | None, seed: int, options: dict[str, Any]) -> Evaluator:
    make = EVALUATORS.get(name)
    if uses_features(name):
        options = {**options, "seed": seed}
    elif epsilon is not None and isinstance(make, type) and issubclass(make, Robustness):
        options = {**options, "epsilon": epsilon}
    return make(**options)


def _check_options(
    evaluators: Mapping[str, Evaluator],
    epsilon: float | None,
    inference: str | None,
    labels: Mapping[str, float | None],
) -> None:
    """Refuse options that none of the evaluators has."""
    given = ", ".join(evaluators)
    if epsilon is not None and not any(isinstance(made, Robustness) for made in evaluators.values()):
        raise PretaskError(
            f"epsilon is the radius of an attack, and none is among {given}: type --protocol pgd20"
        )
    probes = [isinstance(made, FeatureEvaluator) for made in evaluators.values()]
    if inference is not None and all(probes):
        raise PretaskError(f"--inference {inference} reads a class head, and {given} use features: drop it")
    flags = [f"--{name.replace('_', '-')}" for name, value in labels.items() if value is not None]
    if flags and not any(probes):
        raise PretaskError(
            f"{' and '.join(flags)}: this is for protocols on features, and none is among {given}: "
            "type --protocol knn linear"
        )


def _modes(evaluator: Evaluator, card: ModelCard, inference: str | None) -> list[str]:
    if inference is not None:
        return [inference]
    # Under attack an image costs tens to hundreds of passes, for each view that an inference averages.
    return [card.inference] if isinstance(evaluator, Robustness) else list(card.inferences)


def _transfer(card: ModelCard, data: ImageData) -> dict[str, str] | None:
    """Return from where to where the features are carried, or None where the data is known to the model."""
    trained_on = str(card.facts.get("data", "unknown data"))
    known = not card.class_names or card.class_names == data.class_names
    return None if known and data.name == trained_on else {"from": trained_on, "to": data.name}
