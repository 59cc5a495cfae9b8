"""What can be found, what to do about it, and the table of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pretask.checks.pictures import Pictures
from pretask.io.documents import csv_text


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        name: in the table of findings, in words.
        advice: what to do, at most 49 letters, so that name, count and advice fit into 80 columns.
        value: what the number of a finding is.
    """

    name: str
    advice: str
    value: str


UNREADABLE = Kind("unreadable", "mend or remove them; --skip-bad trains without", "")
ODD_SIZE = Kind("odd size", "far from the rest: are they what they should be?", "side / median side")
ODD_SHAPE = Kind("odd shape", "far from the rest: crop them, or leave them out", "long side / short side")
EMPTY = Kind("nearly empty", "one value almost everywhere: leave them out", "share of one value")
DARK = Kind("very dark", "is anything to be seen? else leave them out", "grey value of the bright end")
BRIGHT = Kind("very bright", "is anything to be seen? else leave them out", "grey value of the dark end")
BLURRED = Kind("blurred", "can you tell the class? else leave them out", "blur, 0 to 1")
COPY_SPLITS = Kind("copy in two splits", "test results are too good: --apply drops them", "likeness")
COPY_CLASSES = Kind("copy in two classes", "one of the two labels is wrong: correct it", "likeness")
COPY = Kind("copy in its class", "counts twice; a random split may part the two", "likeness")
NEAR_SPLITS = Kind("near copy, two splits", "test results are too good: --apply drops them", "likeness")
NEAR_CLASSES = Kind("near copy, two classes", "look: one of the two labels may be wrong", "likeness")
NEAR = Kind("near copy in its class", "counts twice; a random split may part the two", "likeness")
GROUP = Kind("group in two splits", "same person or scene? put each into one split", "pictures in the group")
LABEL = Kind("label in doubt", "look at the first ones, correct what is wrong", "probability of the label")
SMALL_CLASS = Kind("small class", "add pictures, or merge it with another class", "training pictures")
FEW_TO_JUDGE = Kind("class hard to judge", "too few test pictures: its accuracy says little", "test pictures")
SMALL_TEST = Kind("small test set", "differences below its interval are chance", "half-width at 90 % right")

KINDS = (
    UNREADABLE, ODD_SIZE, ODD_SHAPE, EMPTY, DARK, BRIGHT, BLURRED, COPY_SPLITS, COPY_CLASSES, COPY, NEAR_SPLITS,
    NEAR_CLASSES, NEAR, GROUP, LABEL, SMALL_CLASS, FEW_TO_JUDGE, SMALL_TEST,
)  # fmt: skip
"""In the order in which they are shown."""
COLUMNS = ("file", "split", "class", "kind", "value", "other file", "advice")


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: of finding.
        value: the number by which it was found; see `Kind.value`.
        picture: its number; None where it is about a class or a split.
        other: number of the picture that it is a copy of, or shares a group with.
        note: what is particular to it, in words.
        split, label: what it is about, where it is no picture.
    """

    kind: Kind
    value: float | None = None
    picture: int | None = None
    other: int | None = None
    note: str = ""
    split: str = ""
    label: str = ""

    def row(self, pictures: Pictures) -> list[str]:
        """Return its cells under `COLUMNS`."""
        i = self.picture
        about = ["", self.split, self.label]
        if i is not None:
            about = [pictures.name(i), pictures.split(i), pictures.label(i)]
        advice = f"{self.note}; {self.kind.advice}" if self.note else self.kind.advice
        value = "" if self.value is None else f"{self.value:.4g}"
        other = "" if self.other is None else pictures.name(self.other)
        return [*about, self.kind.name, value, other, advice]

    def facts(self, pictures: Pictures) -> dict[str, str]:
        """Return its cells by the names of their columns."""
        return dict(zip(COLUMNS, self.row(pictures), strict=True))


def findings_csv(found: Sequence[Finding], pictures: Pictures) -> str:
    """Return all findings as CSV, in the order of `KINDS`, the clearest of each kind first."""
    return csv_text([COLUMNS, *(one.row(pictures) for one in found)])


def by_kind(found: Sequence[Finding]) -> dict[Kind, list[Finding]]:
    """Return the findings of each kind that has any, in the order of `KINDS`."""
    groups = {kind: [one for one in found if one.kind == kind] for kind in KINDS}
    return {kind: ones for kind, ones in groups.items() if ones}
