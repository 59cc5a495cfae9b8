"""The images that a configuration names, read and split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from pretask.config.files import AnyConfig, C
from pretask.data import ImageData, apply_splits, load_data
from pretask.data.identity import Found, Identity
from pretask.data.load import AT_HAND, fixed_source
from pretask.data.splits.apply import with_validation
from pretask.data.splits.classes import ClassSplit
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError
from pretask.training.device import resolve_device

D = TypeVar("D", bound=ImageData | ClassSplit)
IMAGES = "images.safetensors"
"""In the folder of a study or a job: the images of which all its runs are made."""
SCRATCH_ON_CPU, SCRATCH_ON_GPU, TUNED_ON_CPU, TUNED_ON_GPU = 64, 128, 128, 224


def build_data(config: AnyConfig, given: ImageData | None = None) -> ImageData:
    """Read the data and split it; all of it is to train on without classes, or where a run shares these out instead.

    Args:
        config: of the run. Where its folder of runs is that of a study, the images are those that the study began with.
        given: data at hand, in place of what the configuration names; size and channels are as it asks.

    Raises:
        PretaskError: data that cannot be read or split as asked; without classes, it is for pre-training alone; images
            of the study are missing or have changed.
    """
    asked = config.data
    data = (
        unsplit_data(config)
        if given is None
        else load_data(given, image_size=asked.image_size, channels=asked.channels)
    )
    runs = Path(config.session.runs)
    for folder in (runs, runs.parent):  # of a study, and of a job, whose trials have a folder of their own
        data = same_images(config, data, folder)
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


def unsplit_data(
    config: AnyConfig,
    largest: int | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> ImageData:
    """Read the data that a configuration names, as it is.

    Args:
        config: of the run.
        largest: side that images are not to exceed where their size is open; `largest_side` where None.
        size, channels: (height, width), and 1 or 3, where they are known; as the configuration has them where None.

    Raises:
        PretaskError: data that cannot be read, or that was given as an object.
    """
    asked = config.data
    if asked.data == AT_HAND:
        raise PretaskError(
            "the data of this run was given in Python as objects: give it again as data=…, or with --data as a file "
            "or folder that holds the same images"
        )
    return load_data(
        asked.data,
        image_size=size or asked.image_size,
        channels=channels or asked.channels,
        skip_bad=asked.skip_bad,
        root=asked.data_root,
        labelled=config.kind != "pretraining",
        largest=largest or largest_side(config),
    )


def same_images(config: AnyConfig, data: D, folder: Path, new: bool = False) -> D:
    """Return the data of which all runs in a folder are made: as the first of them found it.

    Args:
        config: that names the data.
        data: as it is now, not split.
        folder: of a study or of a job.
        new: whether this is the study itself, which writes down what there is, or where it is now.

    Raises:
        PretaskError: images that the folder knows are missing, have changed, or have other labels.
    """
    path = folder / IMAGES
    if not path.is_file():
        if new:
            Identity.of(data).write(path)
        return data
    known, place = Identity.read(path), _place(data)
    if not new and place != known.place:  # other data in the same folder, as for a transfer
        return data
    same = as_begun(config, data, known, folder)
    if new and place != known.place:
        replace(known, place=place).write(path)
    return same


def as_seen(config: AnyConfig, data: ImageData, known: Identity) -> ImageData:
    """Return data at the size and with the channels at which a run sees it, where its configuration leaves these open.

    Raises:
        PretaskError: see `unsplit_data`.
    """
    asked = config.data
    size = known.image_size if asked.image_size is None else data.image_size
    channels = known.channels if asked.channels is None else data.channels
    if (size, channels) == (data.image_size, data.channels):
        return data
    if data.source is None:
        return load_data(data, image_size=size, channels=channels)
    return unsplit_data(config, size=size, channels=channels)


def with_note(found: Found, data: ImageData, who: str) -> ImageData:
    """Return the images that were found in data, with a line on what differs since `who` saw them."""
    same = found.recalled(data)
    if not found.differences:
        return same
    note = f"{data.name} has changed since {who} was begun: {found.differences}; its own images are used"
    return replace(same, notes=(*same.notes, note), mean=None, std=None)


def largest_side(config: AnyConfig) -> int:
    """Return the side that images are not to exceed where their size is left open, as start and device allow."""
    on_gpu = resolve_device(config.session.device).type == "cuda"
    if config.backbone.published:
        return TUNED_ON_GPU if on_gpu else TUNED_ON_CPU
    return SCRATCH_ON_GPU if on_gpu else SCRATCH_ON_CPU


def as_begun(config: AnyConfig, data: D, known: Identity, folder: Path) -> D:
    """Return the data of a run, or of a study, as it was begun with: the same images in the same splits.

    Args:
        config: that names the data.
        data: as it is now, not split but for its classes.
        known: what the run knows of its data.
        folder: of the run.

    Raises:
        PretaskError: images are missing, have changed or have other labels; where classes are shared out, added too.
    """
    now = data if isinstance(data, ClassSplit) else as_seen(config, data, known)
    found = known.look_for(now)
    if fault := found.complaint() or (found.differences if isinstance(now, ClassSplit) else ""):
        raise PretaskError(
            f"{folder} was begun with other images than {_place(data) or 'these objects'}: {fault}; put them back, or "
            "give another --name to begin anew"
        )
    return cast(D, now if isinstance(now, ClassSplit) else with_note(found, now, str(folder)))


def _place(data: ImageData | ClassSplit) -> str | None:
    """Return where data was read."""
    return data.train.source if isinstance(data, ClassSplit) else data.source


def fix_version(config: C, given: ImageData | ClassSplit | None = None) -> C:
    """Return the configuration with its data named as `fixed_source` has it; every process must ask.

    So a run reads what it began with, wherever it is resumed, and is not taken up with another version.

    Args:
        config: of a run.
        given: data at hand, which is named after where it was read.

    Raises:
        PretaskError: the commit cannot be asked for.
    """
    if given is not None:
        return replace(config, data=replace(config.data, data=_place(given) or AT_HAND))
    source = found_by_first(lambda: fixed_source(config.data.data))
    return replace(config, data=replace(config.data, data=source))


def split_seed(config: AnyConfig) -> int:
    """Return the seed of all splits: its own, or the run's."""
    return config.session.seed if config.data.split_seed is None else config.data.split_seed


def _whole(count: float) -> int:
    if count != int(count):
        raise PretaskError(f"--validation {count} is neither a fraction below 1 nor a whole number of images")
    return int(count)
