"""All checks of a set of pictures, one after the other, and what is printed and written of them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from pretask.checks.cleaning import Cleaned, check_writable, write_cleaned
from pretask.checks.copies import Links, copies, copy_links, leaking_groups
from pretask.checks.findings import KINDS, SMALL_TEST, Finding, Kind, by_kind, findings_csv
from pretask.checks.groups import groups_of_column, groups_of_names
from pretask.checks.labels import Judgement, import_cleanlab, judge_labels, sensible_seconds
from pretask.checks.looks import MOST_COMPARED, Looks, look_at
from pretask.checks.outliers import odd_pictures, small_numbers
from pretask.checks.pictures import Pictures
from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.data.images.decode import UnreadableImageError
from pretask.data.load import read_raw
from pretask.io.files import make_folder, write_atomically
from pretask.reports.check_report import write_check_report
from pretask.reports.html import thumbnail
from pretask.training.display import say
from pretask.training.guest import as_guest
from pretask.training.run_folder import command_line, folder_name

REPORT, TABLE = "check.html", "findings.csv"
SHOWN = 24
"""Findings of a kind that the page shows; the table has all."""


@as_guest()
def check(
    photos: str | Path,
    *,
    labels: bool | None = None,
    seconds: float | None = None,
    group: str | None = None,
    apply: str | Path | None = None,
    to: str | Path | None = None,
    config: RunConfig | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Find what is wrong with pictures and labels; nothing is deleted or moved.

    Args:
        photos: what `load_data` takes as a name or a path; a folder or list without classes too.
        labels: whether to look for labels in doubt, which trains networks; None where cleanlab is installed.
        seconds: for that; 2 minutes for 2,000 pictures where None, growing as their square root.
        group: column of a list that names groups, such as persons; file names show them where None.
        apply: a .csv to write, with the pictures that are neither unreadable nor copies of others in another split.
        to: folder for `check.html` and `findings.csv`; "runs/check-NAME" where None.
        config: of the trainings; plain training of a small network where None.
        console: where to print; nothing is printed without one.

    Returns:
        "folder", "report" and "table", their paths; "pictures", their number; "counts", findings of each kind that has
        any; "findings", a mapping for each with the columns of the table; "labels", what doubts are worth, None where
        labels were not judged; "applied", the pictures on the list that was written, None without one.

    Raises:
        PretaskError: the data cannot be read, or the list not be written.
        MissingExtra: `labels` is True and cleanlab is not installed.
    """
    if config is None:
        config = override(RunConfig(), method="baseline")
    if labels:
        import_cleanlab()
    pictures = Pictures(read_raw(photos, Path(config.data.data_root), True, False))
    if apply is not None:
        check_writable(Path(apply), pictures)
    groups = groups_of_names(pictures) if group is None else groups_of_column(photos, group, pictures)
    folder = (
        Path(config.session.runs) / folder_name(None, f"check-{pictures.raw.name}")
        if to is None
        else Path(to)
    )
    make_folder(folder, "another --to folder")
    say(console, _summary(pictures))
    looks = look_at(pictures)
    links = copy_links(looks, pictures)
    found = [*odd_pictures(looks), *copies(links, pictures), *leaking_groups(groups, pictures)]
    judged = _judge(pictures, looks, links, labels, seconds, config, console)
    found += [*(judged.found if judged else ()), *small_numbers(pictures)]
    found = [one for ones in by_kind(found).values() for one in ones]
    text = findings_csv(found, pictures)
    write_atomically(folder / TABLE, lambda draft: draft.write_text(text, encoding="utf-8"))
    cleaned = None if apply is None else write_cleaned(Path(apply), found, pictures)
    notes = _notes(pictures, judged, cleaned)
    report = write_check_report(folder / REPORT, _page(found, pictures, notes))
    for line in [*_lines(found), *notes, f"{'report':<11} {report}", f"{'table':<11} {folder / TABLE}"]:
        say(console, line)
    return {
        "folder": str(folder),
        "report": str(report),
        "table": str(folder / TABLE),
        "pictures": len(pictures),
        "counts": {kind.name: len(ones) for kind, ones in by_kind(found).items()},
        "findings": [one.facts(pictures) for one in found],
        "labels": None if judged is None else judged.words,
        "applied": None if cleaned is None else cleaned.kept,
    }


def _judge(
    pictures: Pictures,
    looks: Looks,
    links: Links,
    wanted: bool | None,
    seconds: float | None,
    config: RunConfig,
    console: Console | None,
) -> Judgement | None:
    """Return what networks make of the labels; None where nobody wants it, or nothing can be learned."""
    good = np.flatnonzero(looks.readable).tolist()
    classes = len({pictures.label(i) for i in good})
    if wanted is False or classes < len(pictures.class_names) or classes < 2:
        return None
    if wanted is None and find_spec("cleanlab") is None:
        say(console, f"{'labels':<11} not judged: `pip install 'pretask[check]'` for doubtful ones")
        return None
    budget = seconds or sensible_seconds(len(good))
    say(console, f"{'labels':<11} judged by small networks within {budget:.0f} s (--no-labels skips it)")
    return judge_labels(pictures, good, _sets(good, links), config, budget)


def _sets(good: Sequence[int], links: Links) -> list[int]:
    """Return a number for each picture, the same for those that links hold together."""
    of: dict[int, int] = {i: i for i in good}

    def root(i: int) -> int:
        while of[i] != i:
            of[i] = of[of[i]]
            i = of[i]
        return i

    for i, others in links.items():
        for j in others:
            of[root(i)] = root(j)
    return [root(i) for i in good]


def _summary(pictures: Pictures) -> str:
    counts = ", ".join(f"{len(pictures.rows(split)):,} {split}" for split in pictures.splits)
    classes = f"{len(pictures.class_names)} classes" if pictures.labelled else "no classes"
    return f"{'data':<11} {pictures.raw.name}: {counts} pictures, {classes}"


def _lines(found: Sequence[Finding]) -> list[str]:
    """Return a line for each kind that was found, and one for the rest."""
    groups = by_kind(found)
    lines = [f"{kind.name:<22} {len(ones):>6,}  {_advice(kind, ones)}" for kind, ones in groups.items()]
    return lines or [f"{'found':<11} nothing"]


def _advice(kind: Kind, ones: Sequence[Finding]) -> str:
    if kind == SMALL_TEST and ones[0].value is not None:
        return f"90 % right would be known to ± {100 * ones[0].value:.1f} points"
    return kind.advice


def _notes(pictures: Pictures, judged: Judgement | None, cleaned: Cleaned | None) -> list[str]:
    """Return what else a person should know, a line each."""
    notes = [f"{'note':<11} {note}" for note in pictures.raw.notes]
    if len(pictures) > MOST_COMPARED:
        notes.append(f"{'note':<11} near copies were not looked for: more than {MOST_COMPARED:,} pictures")
    if judged is not None:
        notes.append(f"{'labels':<11} {judged.words}")
    if cleaned is not None:
        notes.append(f"{'applied':<11} {cleaned.words}")
        notes += [f"{'warning':<11} no training picture of {name} is left" for name in cleaned.without]
    return notes


def _page(found: Sequence[Finding], pictures: Pictures, notes: Sequence[str]) -> dict[str, Any]:
    """Return what the page shows; see `write_check_report`."""
    groups = by_kind(found)
    return {
        "name": pictures.raw.name,
        "lead": _summary(pictures).partition(" ")[2].strip(),
        "notes": [" ".join(note.split()) for note in notes],
        "command": command_line(),
        "not_found": [kind.name for kind in KINDS if kind not in groups],
        "kinds": [
            {
                "name": kind.name,
                "count": len(ones),
                "advice": _advice(kind, ones),
                "value": kind.value,
                "shown": [_shown(one, pictures) for one in ones[:SHOWN]],
            }
            for kind, ones in groups.items()
        ],
    }


def _shown(one: Finding, pictures: Pictures) -> dict[str, Any]:
    value = "" if one.value is None else f"{one.value:.3g}"
    seen = [i for i in (one.picture, one.other) if i is not None]
    return {
        "value": value,
        "note": one.note,
        "about": " ".join(filter(None, (one.split, one.label))),
        "pictures": [
            {
                "name": pictures.name(i),
                "place": ", ".join(filter(None, (pictures.split(i), pictures.label(i)))),
                "source": _thumbnail(pictures, i),
            }
            for i in seen
        ],
    }


def _thumbnail(pictures: Pictures, i: int) -> str:
    """Return a picture for the page, nothing where it cannot be read."""
    try:
        return thumbnail(pictures.images.read(i))
    except UnreadableImageError:
        return ""
