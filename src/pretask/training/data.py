"""The images that a configuration names, read and split."""

from __future__ import annotations

from dataclasses import replace

from pretask.config.files import AnyConfig, C
from pretask.data import ImageData, apply_splits, load_data
from pretask.data.load import fixed_source
from pretask.data.splits.apply import with_validation
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError
from pretask.training.device import resolve_device

SCRATCH_ON_CPU, SCRATCH_ON_GPU, TUNED_ON_CPU, TUNED_ON_GPU = 64, 128, 128, 224


def build_data(config: AnyConfig, given: ImageData | None = None) -> ImageData:
    """Read the data and split it; all of it is to train on without classes, or where a run shares these out instead.

    Args:
        config: of the run.
        given: data at hand, in place of what the configuration names.

    Raises:
        PretaskError: data that cannot be read or split as asked; without classes, it is for pre-training alone.
    """
    asked = config.data
    data = given if given is not None else unsplit_data(config)
    if data.num_classes < 2 or config.kind == "episodes":
        return data
    split = apply_splits(
        data,
        validation=asked.validation if asked.validation < 1 else _whole(asked.validation),
        per_class=asked.per_class,
        label_fraction=asked.label_fraction,
        imbalance=asked.imbalance,
        imbalance_profile=asked.imbalance_profile,
        seed=split_seed(config),
    )
    if asked.learn_from == "all":
        split = with_validation(split)
    return split if asked.test else replace(split, test=None)


def unsplit_data(config: AnyConfig, largest: int | None = None) -> ImageData:
    """Read the data that a configuration names, as it is.

    Args:
        config: of the run.
        largest: side that images are not to exceed where their size is open; `largest_side` where None.

    Raises:
        PretaskError: data that cannot be read.
    """
    asked = config.data
    return load_data(
        asked.data,
        image_size=asked.image_size,
        channels=asked.channels,
        skip_bad=asked.skip_bad,
        root=asked.data_root,
        labelled=config.kind != "pretraining",
        largest=largest or largest_side(config),
    )


def largest_side(config: AnyConfig) -> int:
    """Return the side that images are not to exceed where their size is left open, as start and device allow."""
    on_gpu = resolve_device(config.session.device).type == "cuda"
    if config.backbone.published:
        return TUNED_ON_GPU if on_gpu else TUNED_ON_CPU
    return SCRATCH_ON_GPU if on_gpu else SCRATCH_ON_CPU


def fix_version(config: C) -> C:
    """Return the configuration with data that is read from the Hub named by its commit; every process must ask.

    So a run reads what it began with, and is not taken up with another version.

    Raises:
        PretaskError: the commit cannot be asked for.
    """
    source = found_by_first(lambda: fixed_source(config.data.data))
    return replace(config, data=replace(config.data, data=source))


def split_seed(config: AnyConfig) -> int:
    """Return the seed of all splits: its own, or the run's."""
    return config.session.seed if config.data.split_seed is None else config.data.split_seed


def _whole(count: float) -> int:
    if count != int(count):
        raise PretaskError(f"--validation {count} is neither a fraction below 1 nor a whole number of images")
    return int(count)
