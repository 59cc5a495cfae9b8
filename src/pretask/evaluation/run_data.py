"""The data that a run is evaluated on: its own, split as for its training, or others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pretask.data import ImageData, apply_splits, load_data
from pretask.errors import PretaskError
from pretask.methods import ModelCard
from pretask.training.build import build_data, split_seed
from pretask.training.config_files import load_any_config


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
