"""What images are like before they are used: sizes, channels, unreadable ones; small sets are decoded into memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch

from pretask.data.images.containers import (
    ArrayImages,
    FileImages,
    ImageData,
    ImageStore,
    LabelledImages,
    RawData,
    check_has_images,
)
from pretask.data.images.decode import Header, UnreadableImageError, enough, or_fault
from pretask.data.loaders.augmentation import recommended_augment
from pretask.data.parallel import map_indices
from pretask.errors import PretaskError

CHECKED_IMAGES = 2_000
"""Up to so many images that stay in files are decoded once at the start, to find unreadable ones."""
MEMORY_LIMIT = 512 * 2**20
"""Bytes of decoded images up to which a data set is kept decoded."""

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
        # Size and channels are given, or those of a published archive: a million headers would say nothing new.
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


Bad = dict[str, dict[int, UnreadableImageError]]
"""Unreadable images: per split, by index."""


@dataclass(frozen=True)
class Survey:
    """The channel counts and (height, width) sizes that occur."""

    channels: frozenset[int]
    sizes: frozenset[tuple[int, int]]


def survey_arrays(splits: Mapping[str, LabelledImages]) -> Survey:
    """Survey splits whose images are all in memory."""
    headers = {split.images.header(0) for split in splits.values()}
    return _survey(headers)


def survey_headers(splits: Mapping[str, LabelledImages]) -> tuple[Survey, Bad]:
    """Survey every image by its header, without decoding pixels."""
    headers: set[Header] = set()
    bad: Bad = {}
    for name, split in splits.items():
        faults = bad.setdefault(name, {})
        look = or_fault(split.images.header)
        for i, found in enumerate(map_indices(look, range(len(split)), f"looking through {name} images")):
            if isinstance(found, UnreadableImageError):
                faults[i] = found
            else:
                headers.add(found)
    return _survey(headers), bad


def find_undecodable(splits: Mapping[str, LabelledImages], bad: Bad) -> None:
    """Decode every image not yet in `bad`, as small as its format allows, and add those that fail."""
    for name, split in splits.items():
        faults = bad.setdefault(name, {})
        rest = [i for i in range(len(split)) if i not in faults]
        results = map_indices(
            or_fault(partial(split.images.read, at_least=(1, 1))), rest, f"checking {name} images"
        )
        for i, found in zip(rest, results, strict=True):
            if isinstance(found, UnreadableImageError):
                faults[i] = found


def without_bad(
    splits: Mapping[str, LabelledImages], bad: Bad, skip: bool
) -> tuple[dict[str, LabelledImages], tuple[str, ...]]:
    """Return the splits without their unreadable images, and what those are called.

    Raises:
        UnreadableImageError: there are some and `skip` is false; the message names the first.
    """
    faults = [fault for found in bad.values() for _, fault in sorted(found.items())]
    if faults and not skip:
        raise _summary_of(faults)
    kept = {}
    for name, split in splits.items():
        found = bad.get(name, {})
        good = [i for i in range(len(split)) if i not in found]
        if good:
            kept[name] = split.subset(good) if found else split
    return kept, tuple(fault.what for fault in faults)


def _summary_of(faults: list[UnreadableImageError]) -> UnreadableImageError:
    if len(faults) == 1:
        return faults[0]
    first = faults[0]
    return UnreadableImageError(
        f"cannot read {len(faults)} images, the first of them {first.what} ({first.reason}): "
        f"repair or remove them, or type --skip-bad to leave them out"
    )


def the_channels(survey: Survey, asked: int | None) -> int:
    """Return the channels to deliver; raise `PretaskError` where images differ and none was asked for."""
    if asked is not None:
        return asked
    if len(survey.channels) == 1:
        return next(iter(survey.channels))
    raise PretaskError("some images are grey and others have colours: type --channels 3 (or --channels 1)")


def the_size(survey: Survey, asked: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size to deliver; raise `PretaskError` where images differ and none was asked for."""
    if asked is not None:
        return asked
    if len(survey.sizes) == 1:
        return next(iter(survey.sizes))
    by_area = sorted(survey.sizes, key=lambda size: (size[0] * size[1], size))
    (low_height, low_width), (high_height, high_width) = by_area[0], by_area[-1]
    raise PretaskError(
        f"images differ in size (from {low_height}x{low_width} to {high_height}x{high_width}): "
        f"type --image-size {_suggested(high_height, high_width)}"
    )


def _suggested(height: int, width: int) -> int:
    return next((size for size in (224, 128, 96, 64) if min(height, width) >= size), 32)


def _survey(headers: set[Header]) -> Survey:
    return Survey(
        frozenset(header.channels for header in headers),
        frozenset((header.height, header.width) for header in headers),
    )


def all_in_memory(splits: Mapping[str, LabelledImages]) -> bool:
    return all(isinstance(split.images, ArrayImages) for split in splits.values())


def physical_memory() -> int:
    """Return the bytes of memory that this machine has; where it does not say, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # AttributeError: no POSIX
        return 2**63


def decode_into_memory(
    splits: Mapping[str, LabelledImages], limit: int, at_least: tuple[int, int] | None
) -> tuple[dict[str, LabelledImages], Bad] | None:
    """Return the splits as `ArrayImages`, and which of their images are unreadable (left as noise).

    Images are decoded to the (height, width) that is enough, as they are wherever they are read. Returns None where
    they would take more than `limit` bytes together, or differ in shape.
    """
    shape = _first_shape([split.images for split in splits.values()], at_least)
    total = sum(len(split) for split in splits.values())
    if shape is None or total * shape.numel() > limit:
        return None
    decoded: dict[str, LabelledImages] = {}
    bad: Bad = {}
    for name, split in splits.items():
        bad[name] = {}
        images = _decode_store(split.images, shape, at_least, f"decoding {name} images", bad[name])
        if images is None:
            return None
        decoded[name] = LabelledImages(images, split.labels)
    return decoded, bad


def _first_shape(stores: list[ImageStore], at_least: tuple[int, int] | None) -> torch.Size | None:
    for store in stores:
        for i in range(len(store)):
            try:
                return store.read(i, at_least).shape
            except UnreadableImageError:
                continue
    return None


def _decode_store(
    store: ImageStore,
    shape: torch.Size,
    at_least: tuple[int, int] | None,
    what: str,
    bad: dict[int, UnreadableImageError],
) -> ArrayImages | None:
    storage = torch.empty((len(store), *shape), dtype=torch.uint8)
    pixels = storage.numpy()  # writing a row through numpy is several times cheaper

    def decode_one(i: int) -> bool:
        try:
            image = store.read(i, at_least)
        except UnreadableImageError as fault:
            bad[i] = fault
            return True
        if image.shape != shape:
            return False
        pixels[i] = image.numpy()
        return True

    if not all(map_indices(decode_one, range(len(store)), what)):
        return None
    return ArrayImages(storage, names=store.paths if isinstance(store, FileImages) else None)
