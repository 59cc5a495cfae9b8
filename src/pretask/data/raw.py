"""What a reader hands over: labelled images, not yet looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pretask.data.images import LabelledImages
from pretask.errors import PretaskError

SPLITS: tuple[str, ...] = ("train", "validation", "test")
_STARTS = {"train": ("train",), "validation": ("valid", "val", "dev"), "test": ("test",)}


@dataclass(frozen=True, eq=False)
class RawData:
    """Labelled images as a reader found them.

    Attributes:
        name: of the data set.
        class_names: N names, in the order of the labels.
        notes: what a user should know of it, for headers and reports.
        splits: "train" always; "validation" and "test" where there are any.
        channels, image_size, augment: what the data set is known to need; None to find out.
    """

    name: str
    splits: Mapping[str, LabelledImages]
    class_names: tuple[str, ...]
    channels: int | None = None
    image_size: tuple[int, int] | None = None
    augment: str | None = None
    notes: tuple[str, ...] = ()


def split_of(name: str) -> str | None:
    """Return "train", "validation" or "test" for a name that starts like one, else None."""
    lowered = name.lower()
    for split, starts in _STARTS.items():
        if lowered.startswith(starts):
            return split
    return None


def check_has_images(splits: Mapping[str, object], where: str) -> None:
    """Raise `PretaskError` unless there is a train split."""
    if "train" not in splits:
        found = ", ".join(splits) or "nothing"
        raise PretaskError(f"{where} has no train images (found: {found}): add a split called train")
