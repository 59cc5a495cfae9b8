"""Help for sources that read an archive's own folder layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from pretask.data.images.containers import FileImages, LabelledImages, RawData
from pretask.errors import PretaskError

COLOUR = 3
PHOTO_SIZE = (224, 224)

Entries = Sequence[tuple[str, str]]
"""(path below the data set's folder, class name) of each image."""


def find_layout(name: str, folder: Path, needed: Sequence[str], inside: str = "") -> Path:
    """Return `folder`, or `inside` within it, whichever has everything `needed`.

    Raises:
        PretaskError: neither has; the message draws the layout.
    """
    for top in (folder, folder / inside):
        if all((top / part).exists() for part in needed):
            return top
    prefix = f"{inside}/" if inside else ""
    wanted = ", ".join(f"{prefix}{part}" for part in needed)
    raise PretaskError(f"{name} is not in {folder}: unpack its archive there, so that it holds {wanted}")


def from_entries(
    name: str,
    top: Path,
    entries: Mapping[str, Entries],
    class_names: Mapping[str, str] | None = None,
    image_size: tuple[int, int] = PHOTO_SIZE,
) -> RawData:
    """Make `RawData` of listed files; classes are in sorted order, renamed by `class_names`.

    Raises:
        PretaskError: a listed file is missing.
    """
    classes = sorted({kind for _, kind in entries["train"]})
    index = {kind: label for label, kind in enumerate(classes)}
    splits = {}
    for split, listed in entries.items():
        for path, kind in listed:
            if kind not in index:
                raise PretaskError(f"{name} lists {path} of class '{kind}', which has no train image")
        _check_present(name, top, listed)
        labels = torch.tensor([index[kind] for _, kind in listed], dtype=torch.int64)
        splits[split] = LabelledImages(FileImages(top, [path for path, _ in listed]), labels)
    return RawData(name, splits, _shown(classes, class_names or {}), channels=COLOUR, image_size=image_size)


def read_lines(path: Path) -> list[str]:
    """Return a text file's lines without the empty ones.

    Raises:
        PretaskError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise PretaskError(f"cannot read {path} ({fault}): unpack the archive again") from fault
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def _shown(classes: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """Name classes by their words; those that share theirs with another keep their own name behind them."""
    shown = [words.get(kind, kind) for kind in classes]
    times = Counter(shown)
    return tuple(
        word if times[word] == 1 else f"{word} ({kind})" for word, kind in zip(shown, classes, strict=True)
    )


def _check_present(name: str, top: Path, listed: Entries) -> None:
    for path, _ in (*listed[:1], *listed[-1:]):
        if not (top / path).is_file():
            raise PretaskError(f"{name} lists {path}, which is not in {top}: unpack the archive again")
