"""What a run knows of its data: each of its images by name, content and label, and which were used for what.

So a run finds its own images again after some were added, renamed, moved or put into another order, and notices where
they are missing, changed or labelled otherwise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pretask.data.images.containers import ImageData, LabelledImages
from pretask.data.images.stores import JoinedImages
from pretask.data.splits.classes import ClassSplit
from pretask.errors import PretaskError
from pretask.io.tensors import DamagedFile, read_tensors, write_tensors

USED = ("train", "validation", "test", "unlabelled")
"""The parts of a data set that a run uses."""
UNUSED = "unused"
"""What it saw beside them."""
_KEY = "identity"
_SHOWN = 3
"""Images that a message names."""


@dataclass(frozen=True, eq=False)
class KnownImages:
    """Images as they can be recognised.

    Attributes:
        names: n of them, as `ImageStore.describe` gives them.
        contents: int64 [n, 2], see `contents_of`.
        labels: int64 [n], -1 where unknown.
    """

    names: tuple[str, ...]
    contents: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: LabelledImages) -> Self:
        """Return how images can be recognised."""
        names = tuple(map(images.images.describe, range(len(images))))
        return cls(names, images.known_contents(), images.labels)

    def __len__(self) -> int:
        return len(self.names)

    def keys(self) -> Iterator[tuple[str, int, int]]:
        """Yield name, size and hash of each."""
        for name, (size, hashed) in zip(self.names, self.contents.tolist(), strict=True):
            yield name, size, hashed


@dataclass(frozen=True, eq=False)
class Identity:
    """The images of a run or of a study, and what each was used for.

    Attributes:
        place: the name or the absolute path that they were read from; None for objects given in Python.
        class_names: in the order of the labels.
        image_size: (height, width) at which they were seen.
        channels: 1 or 3.
        notes: what was done to the splits.
        parts: by the names in `USED` and `UNUSED`, without those that are empty.
    """

    place: str | None
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    channels: int
    notes: tuple[str, ...]
    parts: Mapping[str, KnownImages]

    @classmethod
    def of(cls, data: ImageData | ClassSplit) -> Self:
        """Return the identity of data, split or not."""
        if isinstance(data, ClassSplit):
            return cls._of_classes(data)
        used = {name: getattr(data, name) for name in USED}
        parts = {name: KnownImages.of(images) for name, images in used.items() if images is not None}
        whole = data.whole or data
        seen = [p for p in (whole.train, whole.validation, whole.test) if p is not None]
        own = sum(len(part) for name, part in parts.items() if name != "unlabelled")
        if sum(map(len, seen)) > own:
            parts |= _rest(seen, parts)
        return cls(data.source, data.class_names, data.image_size, data.channels, data.notes, parts)

    @classmethod
    def _of_classes(cls, split: ClassSplit) -> Self:
        """Return the identity of data whose classes are shared out: their names are those of the parts in a row."""
        parts: dict[str, KnownImages] = {}
        names: list[str] = []
        for name in ("train", "validation", "test"):
            part: ImageData = getattr(split, name)
            known = KnownImages.of(part.train)
            parts[name] = replace(known, labels=known.labels + len(names))
            names += part.class_names
        data = split.train
        return cls(data.source, tuple(names), data.image_size, data.channels, data.notes, parts)

    def write(self, path: Path) -> None:
        """Write to a file: some sixty bytes an image.

        Raises:
            PretaskError: it cannot be written.
        """
        tensors = {}
        for name, part in self.parts.items():
            text = bytearray("\0".join(part.names).encode(errors="surrogateescape"))
            tensors[f"{name}.names"] = torch.frombuffer(text, dtype=torch.uint8) if text else _nothing()
            tensors[f"{name}.contents"] = part.contents.contiguous().clone()
            tensors[f"{name}.labels"] = part.labels.contiguous().clone()
        facts = {
            "place": self.place,
            "class_names": self.class_names,
            "image_size": self.image_size,
            "channels": self.channels,
            "notes": self.notes,
        }
        write_tensors(path, tensors, {_KEY: json.dumps(facts)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            PretaskError: it is damaged.
        """
        try:
            tensors, metadata = read_tensors(path, known=(_KEY,))
            facts = json.loads(metadata[_KEY])
            parts = {
                name: KnownImages(
                    _names(tensors, name), tensors[f"{name}.contents"], tensors[f"{name}.labels"]
                )
                for name in (*USED, UNUSED)
                if f"{name}.names" in tensors
            }
            height, width = facts["image_size"]
            return cls(
                facts["place"], tuple(facts["class_names"]), (height, width), facts["channels"],
                tuple(facts["notes"]), parts,
            )  # fmt: skip
        except (DamagedFile, ValueError, KeyError, TypeError, RecursionError) as fault:
            raise PretaskError(
                f"cannot read {path} ({fault}): restore it, or delete it, and the images are split anew"
            ) from None

    def look_for(self, data: ImageData | ClassSplit) -> Found:
        """Look for these images in data, which is not split."""
        return Found(self, _Present(data))


class _Present:
    """The images that are there now, of all splits in a row."""

    def __init__(self, data: ImageData | ClassSplit) -> None:
        whole = (data.train, data.validation, data.test) if isinstance(data, ClassSplit) else (data,)
        self.images: list[LabelledImages] = []
        self.class_names: list[str] = []
        labels = []
        for part in whole:
            for images in (part.train, part.validation, part.test):
                if images is not None:
                    self.images.append(images)
                    labels.append(images.labels + len(self.class_names))
            self.class_names += part.class_names
        self.labels: list[int] = torch.cat(labels).tolist()
        known = [KnownImages.of(images) for images in self.images]
        self.keys = [key for images in known for key in images.keys()]  # noqa: SIM118

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Tensor, labels: Tensor) -> LabelledImages:
        """Return the images at `rows`, int64, with other labels."""
        start = 0
        for part in self.images:
            own = rows - start
            if len(own) and int(own.min()) >= 0 and int(own.max()) < len(part):
                whole = len(own) == len(part) and bool((own == torch.arange(len(part))).all())
                return replace(part if whole else part.subset(own), labels=labels)
            start += len(part)
        joined = JoinedImages(tuple(part.images for part in self.images))
        contents = torch.cat([part.known_contents() for part in self.images])
        return LabelledImages(joined.subset(rows), labels, contents[rows])


@dataclass(frozen=True, eq=False)
class _Part:
    """What was found of one part.

    Attributes:
        rows: where each image is now, int64 [n], -1 where nowhere.
        changed: images in whose place another one is: names.
        missing: names.
        relabelled: names, each with what it was and what it is.
        moved: how many have another name.
    """

    rows: Tensor
    changed: list[str]
    missing: list[str]
    relabelled: list[str]
    moved: int


class Found:
    """Where the images of an identity are now.

    Images are found by name and content, or else by content alone; where no content is known, by name and size.

    Args:
        known: what is looked for.
        present: what is there.
    """

    def __init__(self, known: Identity, present: _Present) -> None:
        self.known, self._present = known, present
        self._by_name: dict[str, list[int]] = {}
        self._by_content: dict[tuple[int, int], list[int]] = {}
        for row, (name, size, hashed) in enumerate(present.keys):
            self._by_name.setdefault(name, []).append(row)
            if hashed:
                self._by_content.setdefault((size, hashed), []).append(row)
        self._used: set[int] = set()
        rows = {name: self._rows_of(part) for name, part in known.parts.items() if name != "unlabelled"}
        self._unknown = len(present) - len(self._used)
        if "unlabelled" in known.parts:  # some of which are the train images
            self._used = set()
            rows["unlabelled"] = self._rows_of(known.parts["unlabelled"])
        self.parts = {name: self._judge(known.parts[name], rows[name]) for name in known.parts}

    def _rows_of(self, part: KnownImages) -> list[int]:
        keys = list(part.keys())
        rows = [self._same(*key) for key in keys]
        return [
            self._of_content(size, hashed) if row < 0 else row
            for row, (_, size, hashed) in zip(rows, keys, strict=True)
        ]

    def _same(self, name: str, size: int, hashed: int) -> int:
        for row in self._by_name.get(name, ()):
            _, now_size, now_hash = self._present.keys[row]
            alike = now_size == size and (now_hash == hashed or not (now_hash and hashed))
            if alike and row not in self._used:
                self._used.add(row)
                return row
        return -1

    def _of_content(self, size: int, hashed: int) -> int:
        rows = self._by_content.get((size, hashed), [])
        while rows:
            row = rows.pop(0)
            if row not in self._used:
                self._used.add(row)
                return row
        return -1

    def _judge(self, part: KnownImages, rows: list[int]) -> _Part:
        names, classes, present = part.names, self.known.class_names, self._present
        lost = [i for i, row in enumerate(rows) if row < 0]
        relabelled = []
        for i, (row, label) in enumerate(zip(rows, part.labels.tolist(), strict=True)):
            if row >= 0 and label >= 0:
                now = present.class_names[present.labels[row]]
                if now != classes[label]:
                    relabelled.append(f"{names[i]}: was {classes[label]}, is {now}")
        return _Part(
            torch.tensor(rows, dtype=torch.int64),
            [names[i] for i in lost if names[i] in self._by_name],
            [names[i] for i in lost if names[i] not in self._by_name],
            relabelled,
            sum(row >= 0 and present.keys[row][0] != names[i] for i, row in enumerate(rows)),
        )

    def complaint(self, needed: Collection[str] = USED, skipped: Collection[str] = ()) -> str:
        """Return why the images are not those that are known; "" where the needed parts are all there, labels too.

        Args:
            needed: names of parts.
            skipped: names, or paths, of images that may be missing.
        """
        words = []
        for name in needed:
            if name not in self.parts or (name == "unlabelled" and "train" in needed):
                continue
            part, of = self.parts[name], f"of {len(self.known.parts[name]):,} {name} images"
            missing = [i for i in part.missing if not any(f"/{path}".endswith(f"/{i}") for path in skipped)]
            for images, what in (
                (missing, "are missing"),
                (part.changed, "have another content"),
                (part.relabelled, "have another label"),
            ):
                if images:
                    words.append(f"{len(images):,} {of} {what} ({_some(images)})")
        return "; ".join(words)

    @property
    def differences(self) -> str:
        """What differs, all parts counted together, in words; "" where nothing does."""
        parts = [part for name, part in self.parts.items() if name != "unlabelled"]
        counts = {
            "added": self._unknown - sum(len(part.changed) for part in parts),
            "missing": sum(len(part.missing) for part in parts),
            "with another content": sum(len(part.changed) for part in parts),
            "with another label": sum(len(part.relabelled) for part in parts),
            "renamed": 0 if self._renumbered else sum(part.moved for part in parts),
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count > 0)

    @property
    def _renumbered(self) -> bool:
        """Whether names are but numbers, as those of arrays are."""
        return all(name.startswith("image ") for name, _, _ in self._present.keys)

    def recalled(self, data: ImageData) -> ImageData:
        """Return data with the known images in their splits and order, as far as they are there.

        Args:
            data: what was looked through.
        """
        made: dict[str, Any] = dict.fromkeys(USED)
        for name, part in self.parts.items():
            if name == UNUSED:
                continue
            there = part.rows >= 0
            if there.any():
                labels = self.known.parts[name].labels[there]
                made[name] = self._present.take(part.rows[there], labels)
        counts = None
        if not bool((self.parts["train"].rows >= 0).all()):
            labels = self.known.parts["train"].labels
            counts = tuple(torch.bincount(labels, minlength=len(self.known.class_names)).tolist())
        made["train"] = made["train"] or data.train
        return replace(
            data, **made, class_names=self.known.class_names, notes=self.known.notes, train_counts=counts,
            mean=None, std=None, whole=data,
        )  # fmt: skip


def _rest(seen: Sequence[LabelledImages], parts: Mapping[str, KnownImages]) -> dict[str, KnownImages]:
    """Return, as a part, the images of `seen` that are in no part."""
    used = Counter(key for name, part in parts.items() if name != "unlabelled" for key in part.keys())  # noqa: SIM118
    names, contents, labels = [], [], []
    for images in seen:
        known = KnownImages.of(images)
        for i, key in enumerate(known.keys()):
            if used[key]:
                used[key] -= 1
            else:
                names.append(key[0])
                contents.append(known.contents[i])
                labels.append(known.labels[i])
    if not names:
        return {}
    return {UNUSED: KnownImages(tuple(names), torch.stack(contents), torch.stack(labels))}


def _names(tensors: Mapping[str, Tensor], part: str) -> tuple[str, ...]:
    text = tensors[f"{part}.names"].numpy().tobytes().decode(errors="surrogateescape")
    return tuple(text.split("\0"))


def _nothing() -> Tensor:
    return torch.empty(0, dtype=torch.uint8)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
