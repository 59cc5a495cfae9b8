"""From what a reader found to `ImageData`: facts are found, faults are named, small sets are decoded."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from pretask.data.images.containers import ImageData, LabelledImages, RawData, check_has_images
from pretask.data.images.fitting import enough
from pretask.data.images.survey import (
    Survey,
    all_in_memory,
    decode_into_memory,
    find_undecodable,
    survey_arrays,
    survey_headers,
    the_channels,
    the_size,
    without_bad,
)
from pretask.data.loaders.augmentation import recommended_augment
from pretask.errors import PretaskError

CHECKED_IMAGES = 2_000
"""Up to so many images that stay in files are decoded once at the start, to find unreadable ones."""

Splits = dict[str, LabelledImages]


def prepare(
    raw: RawData,
    *,
    image_size: tuple[int, int] | None,
    channels: int | None,
    skip_bad: bool,
    memory_limit: int,
) -> ImageData:
    """Look at every image and return the finished data set.

    Args:
        raw: what a reader found.
        image_size: (height, width) to deliver; None for the images' own.
        channels: 1 or 3 to deliver; None for the images' own.
        skip_bad: leave unreadable images out instead of raising.
        memory_limit: keep the set decoded in memory where that takes at most so many bytes.

    Raises:
        UnreadableImageError: an image cannot be read.
        PretaskError: images differ in size or channels and none was asked for; a class has no images.
    """
    check_has_images(raw.splits, raw.name)
    wanted = channels or raw.channels
    asked_size = image_size or raw.image_size
    splits = {name: split for name, split in raw.splits.items() if len(split)}
    check_has_images(splits, raw.name)
    splits = _converted(splits, wanted)
    splits, survey, skipped = _examine(splits, wanted, asked_size, skip_bad, memory_limit)
    check_has_images(splits, raw.name)
    _check_classes(splits["train"], raw)
    found_channels = the_channels(survey, wanted)
    height, width = the_size(survey, asked_size)
    splits = _converted(splits, found_channels)
    return ImageData(
        name=raw.name,
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits.get("test"),
        class_names=raw.class_names,
        channels=found_channels,
        image_size=(height, width),
        mean=None,
        std=None,
        # Grey images are mostly characters, drawings or X-rays, where left and right matter.
        augment=raw.augment or recommended_augment((height, width), flip=found_channels == 3),
        mixed_sizes=len(survey.sizes) != 1,
        skipped=skipped,
        notes=raw.notes,
    )


def _converted(splits: Mapping[str, LabelledImages], channels: int | None) -> Splits:
    return {
        name: LabelledImages(split.images.converted(channels), split.labels) for name, split in splits.items()
    }


def _examine(
    splits: Splits, channels: int | None, size: tuple[int, int] | None, skip_bad: bool, memory_limit: int
) -> tuple[Splits, Survey, tuple[str, ...]]:
    if all_in_memory(splits):
        return splits, survey_arrays(splits), ()
    decoded = decode_into_memory(splits, memory_limit, None if size is None else enough(size))
    if decoded is not None:
        kept, skipped = without_bad(*decoded, skip_bad)
        return kept, survey_arrays(decoded[0]), skipped
    total = sum(len(split) for split in splits.values())
    if channels and size and total > CHECKED_IMAGES and not skip_bad:
        # Size and channels are given, or those of a published archive: a million headers would tell nothing new.
        return splits, Survey(frozenset(), frozenset()), ()
    survey, bad = survey_headers(splits)
    if skip_bad or total <= CHECKED_IMAGES:
        find_undecodable(splits, bad)
    kept, skipped = without_bad(splits, bad, skip_bad)
    return kept, survey, skipped


def _check_classes(train: LabelledImages, raw: RawData) -> None:
    counts = torch.bincount(train.labels, minlength=len(raw.class_names))
    if (counts == 0).any():
        empty = raw.class_names[int((counts == 0).int().argmax())]
        raise PretaskError(
            f"class '{empty}' of {raw.name} has no readable train image: add some or remove it"
        )
