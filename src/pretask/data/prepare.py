"""What images are like before they are used: sizes, channels, unreadable ones; small sets are decoded into memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

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
from pretask.data.images.contents import contents_of_splits
from pretask.data.images.decode import Header, UnreadableImageError, or_fault
from pretask.data.loaders.augmentation import recommended_augment
from pretask.data.parallel import map_indices
from pretask.errors import PretaskError
from pretask.options import Decision

LARGEST = 224
"""The side that is not exceeded where the size is found out: what most networks for photos are made for."""
SMALLEST, STEP = 16, 8
"""The least side of a size that is found out, and what it is a multiple of: networks halve it several times."""
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
    largest: int = LARGEST,
) -> ImageData:
    """Look at every image and return the finished data set.

    Args:
        raw: what a reader found.
        image_size: (height, width) to deliver; None to find out.
        channels: 1 or 3 to deliver; None to find out.
        skip_bad: leave unreadable images out instead of raising.
        memory_limit: keep the set decoded in memory where that takes at most so many bytes.
        largest: side in pixels that a size which is found out does not exceed.

    Raises:
        UnreadableImageError: an image cannot be read.
        PretaskError: a class has no images.
    """
    check_has_images(raw.splits, raw.name)
    splits = {name: split for name, split in raw.splits.items() if len(split)}
    check_has_images(splits, raw.name)
    contents = contents_of_splits({name: split.images for name, split in splits.items()})
    splits = {name: replace(split, contents=contents[name]) for name, split in splits.items()}
    wish = _Wish(image_size or raw.image_size, channels or raw.channels, largest)
    splits, survey, skipped = _examine(_converted(splits, wish.channels), wish, skip_bad, memory_limit)
    check_has_images(splits, raw.name)
    _check_classes(splits["train"], raw)
    size, found_channels, decisions = decide(survey, wish)
    splits = _converted(splits, found_channels)
    return ImageData(
        name=raw.name,
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits.get("test"),
        class_names=raw.class_names,
        channels=found_channels,
        image_size=size,
        mean=None,
        std=None,
        # Grey images are mostly characters, drawings or X-rays, where left and right matter.
        augment=raw.augment or recommended_augment(size, flip=found_channels == 3),
        mixed_sizes=len(survey.sizes) != 1,
        skipped=skipped,
        notes=raw.notes,
        decisions=decisions,
    )


def _converted(splits: Mapping[str, LabelledImages], channels: int | None) -> Splits:
    return {name: replace(split, images=split.images.converted(channels)) for name, split in splits.items()}


def _examine(
    splits: Splits, wish: _Wish, skip_bad: bool, memory_limit: int
) -> tuple[Splits, Survey, tuple[str, ...]]:
    if all_in_memory(splits):
        return splits, survey_arrays(splits), ()
    decoded = decode_into_memory(splits, memory_limit, wish.largest if wish.size is None else None)
    if decoded is not None:
        kept, skipped = without_bad(*decoded, skip_bad)
        return kept, survey_arrays(decoded[0]), skipped
    total = sum(len(split) for split in splits.values())
    if wish.channels and wish.size and total > CHECKED_IMAGES and not skip_bad:
        # Size and channels are given, or those of a published archive: a million headers would say nothing new.
        return splits, Survey(Counter(), Counter()), ()
    survey, bad = survey_headers(splits)
    if len(survey.sizes) == 1:  # with what is decided of them, they may be alike and small after all
        _, channels, decisions = decide(survey, wish)
        alike = _converted(splits, channels)
        decoded = decode_into_memory(alike, memory_limit) if decisions else None
        if decoded is not None:
            kept, skipped = without_bad(*decoded, skip_bad)
            return kept, survey, skipped
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
    """How many images have each channel count, and each (height, width)."""

    channels: Counter[int]
    sizes: Counter[tuple[int, int]]

    def add(self, header: Header, count: int = 1) -> None:
        """Count images that have such a header."""
        self.channels[header.channels] += count
        self.sizes[header.height, header.width] += count


def survey_arrays(splits: Mapping[str, LabelledImages]) -> Survey:
    """Survey splits whose images are all in memory."""
    survey = Survey(Counter(), Counter())
    for split in splits.values():
        survey.add(split.images.header(0), len(split))
    return survey


def survey_headers(splits: Mapping[str, LabelledImages]) -> tuple[Survey, Bad]:
    """Survey every image by its header, without decoding pixels."""
    survey = Survey(Counter(), Counter())
    bad: Bad = {}
    for name, split in splits.items():
        faults = bad.setdefault(name, {})
        look = or_fault(split.images.header)
        for i, found in enumerate(map_indices(look, range(len(split)), f"looking through {name} images")):
            if isinstance(found, UnreadableImageError):
                faults[i] = found
            else:
                survey.add(found)
    return survey, bad


def find_undecodable(splits: Mapping[str, LabelledImages], bad: Bad) -> None:
    """Decode every image not yet in `bad`, and add those that fail."""
    for name, split in splits.items():
        faults = bad.setdefault(name, {})
        rest = [i for i in range(len(split)) if i not in faults]
        results = map_indices(or_fault(split.images.read), rest, f"checking {name} images")
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


@dataclass(frozen=True)
class _Wish:
    """(height, width) and channels to deliver, None where they are left open, and the largest side then."""

    size: tuple[int, int] | None
    channels: int | None
    largest: int


def decide(survey: Survey, wish: _Wish) -> tuple[tuple[int, int], int, tuple[Decision, ...]]:
    """Return the (height, width) and the channels to deliver, and what had to be decided for them.

    Images of one size keep it up to the largest side that was wished. Else the size is square: of the shorter sides the
    lower quartile, so that few images are enlarged, in steps of 8 from 16 on.
    """
    size, channels, decisions = wish.size, wish.channels, []
    if size is None:
        (size, *others) = survey.sizes
        if others or max(size) > wish.largest:
            side, reason = _working_side(survey.sizes, wish.largest)
            size = (side, side)
            decisions.append(Decision("image_size", side, reason))
    if channels is None:
        channels = max(survey.channels)
        if len(survey.channels) > 1:
            grey, colour = survey.channels[1], survey.channels[3]
            decisions.append(Decision("channels", 3, f"{colour:,} images have colours, {grey:,} are grey"))
    return size, channels, tuple(decisions)


def _working_side(sizes: Counter[tuple[int, int]], largest: int) -> tuple[int, str]:
    """Return a square's side for images of such sizes, and why."""
    quartile = _lower_quartile(sizes)
    side = max(SMALLEST, min(quartile, largest) // STEP * STEP)
    if len(sizes) == 1:
        ((height, width),) = sizes
        return side, f"all images are {height}x{width}, larger than {largest}"
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    low, high = (f"{height}x{width}" for height, width in (by_area[0], by_area[-1]))
    return side, (
        f"the images differ in size, from {low} to {high}; "
        f"three quarters of them have a shorter side of {quartile} pixels or more"
        f"{f', of which at most {largest} are used' if quartile > largest else ''}"
    )


def _lower_quartile(sizes: Counter[tuple[int, int]]) -> int:
    """Return the longest shorter side that at least three quarters of the images have or exceed."""
    by_side = sorted((min(size), count) for size, count in sizes.items())
    passed = accumulate(count for _, count in by_side)
    return next(side for (side, _), past in zip(by_side, passed, strict=True) if 4 * past > sizes.total())


def all_in_memory(splits: Mapping[str, LabelledImages]) -> bool:
    return all(isinstance(split.images, ArrayImages) for split in splits.values())


def physical_memory() -> int:
    """Return the bytes of memory that this machine has; where it does not say, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # AttributeError: no POSIX
        return 2**63


def decode_into_memory(
    splits: Mapping[str, LabelledImages],
    limit: int,
    largest: int | None = None,
) -> tuple[dict[str, LabelledImages], Bad] | None:
    """Return the splits as `ArrayImages`, and which of their images are unreadable (left as noise).

    Returns None where they would take more than `limit` bytes together, differ in shape, or have a side above
    `largest`.
    """
    shape = _first_shape([split.images for split in splits.values()])
    total = sum(len(split) for split in splits.values())
    if shape is None or total * shape.numel() > limit or (largest and max(shape[1:]) > largest):
        return None
    decoded: dict[str, LabelledImages] = {}
    bad: Bad = {}
    for name, split in splits.items():
        bad[name] = {}
        images = _decode_store(split.images, shape, f"decoding {name} images", bad[name])
        if images is None:
            return None
        decoded[name] = replace(split, images=images)
    return decoded, bad


def _first_shape(stores: list[ImageStore]) -> torch.Size | None:
    for store in stores:
        for i in range(len(store)):
            try:
                return store.read(i).shape
            except UnreadableImageError:
                continue
    return None


def _decode_store(
    store: ImageStore,
    shape: torch.Size,
    what: str,
    bad: dict[int, UnreadableImageError],
) -> ArrayImages | None:
    storage = torch.empty((len(store), *shape), dtype=torch.uint8)
    pixels = storage.numpy()  # writing a row through numpy is several times cheaper

    def decode_one(i: int) -> bool:
        try:
            image = store.read(i)
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
