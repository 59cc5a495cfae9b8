"""Give a data set its validation and test sets, and make its train set small or uneven where asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import torch

from pretask.data.images.containers import ArrayImages, ImageData, LabelledImages
from pretask.data.images.contents import SAMPLED_IMAGES, copies_of, copy_groups
from pretask.data.images.stores import JoinedImages
from pretask.data.splits.indices import hold_out, long_tailed, most_held, number_held
from pretask.data.splits.indices import label_fraction as share_of_each
from pretask.data.splits.indices import per_class as first_of_each
from pretask.errors import PretaskError

TEST_SHARE = 0.2


def apply_splits(
    data: ImageData,
    *,
    validation: float = 0.1,
    per_class: int | None = None,
    label_fraction: float | None = None,
    imbalance: float | None = None,
    imbalance_profile: str = "exponential",
    seed: int = 0,
) -> ImageData:
    """Complete a data set's splits, in this order: test, validation, train.

    A set without test images gives 20 % of its train images, and one without validation images gives
    `validation` of those that remain; both are stratified, and copies of an image stay on its side, see `copy_groups`.
    Each class keeps an image to train on, so that a share can come out smaller, or empty: then there is no such split,
    and a note says so. Then the train images are reduced; with fewer labels, all of them stay at hand without labels.
    Mean and standard deviation are those of the train images that are left.

    Args:
        data: as `load_data` returns it.
        validation: the share of the train images to validate on, or their number; 0 for none. A data set's
            own validation images are kept whatever this says.
        per_class: train on so many images of each class.
        label_fraction: train on this share of each class.
        imbalance: train on a long-tailed selection, whose largest class is so many times the smallest; of what
            the two above leave.
        imbalance_profile: "exponential" or "step".
        seed: chooses the images.

    Raises:
        PretaskError: a number is out of range, a class has too few images, or both `per_class` and
            `label_fraction` are given.
    """
    if per_class is not None and label_fraction is not None:
        raise PretaskError("--per-class and --label-fraction exclude one another: give one of them")
    train, held_validation, test, notes = data.train, data.validation, data.test, list(data.notes)
    if test is None or (held_validation is None and validation):
        notes += _copies_note(train)
    if test is None:
        train, test = _part(train, TEST_SHARE, seed)
        notes.append(_part_note("test", test, seed))
    if held_validation is None and validation:
        train, held_validation = _part(train, validation, seed)
        notes.append(_part_note("validation", held_validation, seed))
    notes += _across_notes({"train": train, "validation": held_validation, "test": test})
    reduced = train
    if per_class is not None:
        reduced = reduced.subset(first_of_each(reduced.labels, per_class, seed, data.class_names))
        notes.append(f"train: {per_class} images per class, seed {seed}")
    if label_fraction is not None:
        reduced = reduced.subset(share_of_each(reduced.labels, label_fraction, seed))
        notes.append(f"train: {label_fraction:g} of each class, seed {seed}")
    if imbalance is not None:
        reduced = reduced.subset(long_tailed(reduced.labels, imbalance, imbalance_profile, seed))
        notes.append(f"train: {imbalance_profile} imbalance {imbalance:g}, seed {seed}")
    if reduced is data.train:
        return replace(data, test=test, validation=held_validation, notes=tuple(notes), whole=data)
    fewer_labels = per_class is not None or label_fraction is not None
    return replace(
        data,
        train=reduced,
        validation=held_validation,
        test=test,
        mean=None,
        std=None,
        notes=tuple(notes),
        unlabelled=without_labels(train) if fewer_labels else data.unlabelled,
        whole=data,
    )


def with_validation(data: ImageData) -> ImageData:
    """Return a data set whose validation images are among those to train on."""
    if data.validation is None:
        return data
    parts = (data.train, data.validation)
    images = JoinedImages(tuple(part.images for part in parts))
    contents = torch.cat([part.known_contents() for part in parts])
    train = LabelledImages(images, torch.cat([part.labels for part in parts]), contents)
    notes = (*data.notes, f"train: with the {len(data.validation)} validation images")
    return replace(data, train=train, validation=None, mean=None, std=None, notes=notes)


def without_labels(images: LabelledImages) -> LabelledImages:
    """Return the same images, every label -1."""
    return replace(images, labels=torch.full_like(images.labels, -1))


def _part(images: LabelledImages, size: float, seed: int) -> tuple[LabelledImages, LabelledImages | None]:
    """Part off a number of images, or a share as far as each class can give it; None where it cannot give any."""
    groups = copy_groups(images.known_contents())
    labels = images.labels if groups is None else images.labels[groups.unique()]  # type: ignore[no-untyped-call]
    total = number_held(size, len(labels))
    if not isinstance(size, int):
        total = min(total, most_held(labels))
    if not total:
        return images, None
    kept, held = hold_out(images.labels, total, seed, groups)
    return images.subset(kept), images.subset(held) if len(held) else None


def _copies_note(images: LabelledImages) -> list[str]:
    """Return a line about images that are there more than once, which no split may part; none without such."""
    if len(images) > SAMPLED_IMAGES and not isinstance(images.images, ArrayImages):
        return [f"copies are not looked for among more than {SAMPLED_IMAGES:,} images: see docs/data.md"]
    groups = copy_groups(images.known_contents())
    if groups is None:
        return []
    copies = groups != torch.arange(len(groups))
    disagree = int((images.labels != images.labels[groups]).sum())
    differ = f", {disagree:,} of them under another label" if disagree else ""
    return [
        f"copies: {int(copies.sum()):,} of {len(images):,} images have the content of another{differ}; copies stay "
        "on one side of a split"
    ]


def _across_notes(parts: Mapping[str, LabelledImages | None]) -> list[str]:
    """Return a line for each two splits that share images, as given ones may."""
    found = [(name, part) for name, part in parts.items() if part is not None]
    contents = {name: part.known_contents() for name, part in found}
    notes = []
    for (of, _), (name, part) in combinations(found, 2):
        if copies := copies_of(contents[name], contents[of]):
            notes.append(
                f"copies: {copies:,} of {len(part):,} {name} images are {of} images too: what is reached on them says "
                "little about new images"
            )
    return notes


def _part_note(split: str, held: LabelledImages | None, seed: int) -> str:
    if held is None:
        return f"{split}: none, each class has a single train image left, and two are needed"
    return f"{split}: {len(held)} train images held out, seed {seed}"
