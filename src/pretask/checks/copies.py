"""Pictures that are there more than once: pixel by pixel, or changed a little; and groups that lie in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch

from pretask.checks import findings as kinds
from pretask.checks.alike import same_pictures
from pretask.checks.findings import Finding
from pretask.checks.looks import Looks
from pretask.checks.outliers import EMPTY_SHARE
from pretask.checks.pictures import Pictures

LEAST_SIDE = 32
"""Pixels of the shorter side below which pictures have too few details for near copies to be told apart."""
Links = dict[int, dict[int, float]]
"""For each picture, those that it is a copy of; 1 for the same pixels, else the likeness."""
_SAME_PIXELS = 1.0


def copy_links(looks: Looks, pictures: Pictures) -> Links:
    """Return which pictures are copies of which, each link towards the one that is kept first (`Pictures.rank`).

    A set of many copies is linked through the first of each split and class in it, so that links stay few.
    """
    sets: dict[bytes, list[int]] = defaultdict(list)
    for i in np.flatnonzero(looks.readable & (looks.one_value < EMPTY_SHARE)).tolist():
        sets[looks.digest[i]].append(i)
    members = [sorted(ones, key=pictures.rank) for ones in sets.values()]
    firsts = [_firsts(ones, pictures) for ones in members]
    links: Links = defaultdict(dict)

    def link(ones: Iterable[int], others: Iterable[int], likeness: float) -> None:
        for i in ones:
            for j in others:
                if pictures.rank(j) < pictures.rank(i):
                    links[i].setdefault(j, likeness)

    for ones, first in zip(members, firsts, strict=True):
        link(ones, first, _SAME_PIXELS)
    for a, b, likeness in _near(members, looks):
        likeness = min(likeness, 0.9999)  # of other pixels, however alike
        link(members[a], firsts[b], likeness)
        link(members[b], firsts[a], likeness)
    return links


def _firsts(ones: Sequence[int], pictures: Pictures) -> list[int]:
    found: dict[tuple[str, int], int] = {}
    for i in ones:
        found.setdefault((pictures.split(i), int(pictures.labels[i])), i)
    return list(found.values())


def _near(members: Sequence[Sequence[int]], looks: Looks) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of sets, by their places, whose pictures are near copies."""
    if looks.small is None:
        return
    places = [
        place for place, (i, *_) in enumerate(members) if min(looks.height[i], looks.width[i]) >= LEAST_SIDE
    ]
    small = torch.from_numpy(looks.small[[members[place][0] for place in places]])
    for a, b, likeness in same_pictures(small):
        yield places[a], places[b], likeness


def copies(links: Links, pictures: Pictures) -> Iterator[Finding]:
    """Yield each picture that is a copy: once where it lies in another split than the first, once in another class."""
    for i, others in links.items():
        best = sorted(others, key=lambda j: (-others[j], pictures.rank(j)))
        split = next((j for j in best if pictures.split(j) != pictures.split(i)), None)
        label = next((j for j in best if pictures.label(j) != pictures.label(i)), None)
        if split is not None:
            exact = others[split] == _SAME_PIXELS
            yield Finding(kinds.COPY_SPLITS if exact else kinds.NEAR_SPLITS, others[split], i, split)
        if label is not None:
            exact = others[label] == _SAME_PIXELS
            note = f"the other is in {pictures.label(label)}"
            yield Finding(kinds.COPY_CLASSES if exact else kinds.NEAR_CLASSES, others[label], i, label, note)
        if split is None and label is None:
            exact = others[best[0]] == _SAME_PIXELS
            yield Finding(kinds.COPY if exact else kinds.NEAR, others[best[0]], i, best[0])


def leaking_groups(groups: Mapping[int, str], pictures: Pictures) -> Iterator[Finding]:
    """Yield the pictures whose group has pictures in a split that is kept before theirs, the largest groups first.

    Args:
        groups: name of the group of each picture that is in one.
        pictures: that are checked.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, group in groups.items():
        members[group].append(i)
    for group, ones in sorted(members.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        first = min(ones, key=pictures.rank)
        for i in ones:
            if pictures.split(i) != pictures.split(first):
                yield Finding(kinds.GROUP, len(ones), i, first, f"group {group}")
