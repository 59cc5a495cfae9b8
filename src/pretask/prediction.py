"""Labels for new pictures from a saved run."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from pretask.data import FileImages
from pretask.data.images.decode import UnreadableImageError, or_fault
from pretask.data.parallel import map_indices
from pretask.data.readers.folder import Tree, left_out, scan
from pretask.errors import PretaskError
from pretask.evaluation.calibration import FEWEST_IMAGES, threshold
from pretask.export import load_model, local_folder
from pretask.io.documents import one_line
from pretask.methods import ModelCard, read_card
from pretask.training.device import resolve_device
from pretask.training.display import say
from pretask.training.guest import as_guest

_BATCH = 64
_CHUNK = 8  # pictures that a thread reads at a time


@as_guest()
def predict(
    run: Path | str,
    images: Sequence[Path | str],
    *,
    inference: str | None = None,
    top: int = 1,
    coverage: float | None = None,
    skip_bad: bool = False,
    device: str = "auto",
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Label pictures.

    Each is resized so that it covers the size the model was trained on, and cut to its centre, as in evaluation.

    Args:
        run: a run folder, an export in any format, or "hf:owner/name" for one on the Hugging Face Hub.
        images: picture files, whatever they are called, or folders of them, searched in depth as for training.
        inference: a way to answer; None is the model's default.
        top: how many classes to name, clamped to the number of classes.
        coverage: in (0, 1): also return the set of classes that holds the right one in so large a share of pictures, if
            they are like the validation images of the run. One class in it is an answer; several, or none, say that
            the model does not know.
        skip_bad: leave out pictures that cannot be read.
        device: "auto", "cpu", "cuda" or "mps".
        console: where what is left out is counted and named; nothing is printed without one.

    Returns:
        for each picture {"image", "label", "probability", "top": [{"label", "probability"}, …]}, in order; with
        `coverage` also "set": the entries of its classes, as in "top", the likeliest first.

    Raises:
        PretaskError: no model, a coverage that it was not calibrated for, no pictures, one that cannot be read (all of
            them under `skip_bad`), or weights that give NaN.
    """
    if top < 1:
        raise PretaskError(f"--top {top} names no class: type --top 1 or more")
    where = resolve_device(device)
    folder = local_folder(run)
    card = read_card(folder)
    classifier = load_model(folder, inference, card).to(where)
    least = None if coverage is None else _least(card, inference or card.inference, coverage, run)
    paths, notes = _picture_files(images)
    for note in notes:
        say(console, note)
    answers, bad = [], []
    with closing(_read(paths, card)) as pictures:
        while batch := list(islice(pictures, _BATCH)):
            unread = [picture for _, picture in batch if isinstance(picture, UnreadableImageError)]
            if unread and not skip_bad:
                raise unread[0]
            bad += unread
            read = [(path, picture) for path, picture in batch if isinstance(picture, Tensor)]
            if not read:
                continue
            with torch.no_grad():
                pixels = torch.stack([picture for _, picture in read]).to(where).float() / 255
                probabilities = classifier(pixels).softmax(dim=1).cpu()
            if not probabilities.isfinite().all():
                raise PretaskError(f"the model in {run} answers NaN: train it again with a smaller --lr")
            answers += [
                _answer(path, p, card, top, least) for (path, _), p in zip(read, probabilities, strict=True)
            ]
    _report_left_out(bad, len(paths), console)
    return answers


def _report_left_out(bad: Sequence[UnreadableImageError], total: int, console: Console | None) -> None:
    if len(bad) == total:
        raise PretaskError(
            f"none of {total} pictures can be read, the first is {bad[0].what} ({bad[0].reason})"
        )
    if bad:
        names = ", ".join(fault.what for fault in bad)
        say(console, f"left out {len(bad)} of {total} pictures, which cannot be read: {names}")


def _picture_files(given: Sequence[Path | str]) -> tuple[list[Path], tuple[str, ...]]:
    """Return the files, and what is to be said of those that folders hold besides."""
    paths: list[Path] = []
    trees: list[Tree] = []
    for item in map(Path, given):
        if item.is_dir():
            trees.append(_scanned(item))
            found = trees[-1].classes
            paths += sorted(item / place / name for place, names in found.items() for name in names)
        elif item.is_file():
            paths.append(item)
        else:
            raise PretaskError(f"no picture or folder {item}: give picture files or folders of them")
    notes = left_out(trees)
    if not paths:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise PretaskError(
            f"there is no picture to label{why}: give picture files, or folders that hold some"
        )
    return paths, notes


def _scanned(folder: Path) -> Tree:
    try:
        return scan(folder)
    except OSError as fault:
        raise PretaskError(f"cannot read {folder} ({one_line(fault)}): check its permissions") from fault


def _read(paths: Sequence[Path], card: ModelCard) -> Generator[tuple[Path, Tensor | UnreadableImageError]]:
    """Yield each picture as it is evaluated, uint8 [C, H, W], or why it cannot be read; some are read ahead."""
    files = FileImages(Path(), [str(path) for path in paths], card.channels)
    read = or_fault(lambda i: files.fitted(i, card.image_size))
    yield from zip(paths, map_indices(read, range(len(paths)), "reading pictures", _CHUNK), strict=True)


def _least(card: ModelCard, inference: str, coverage: float, run: Path | str) -> float:
    """Return the least probability of a class that belongs to the set of answers."""
    if not 0 < coverage < 1:
        raise PretaskError(f"--coverage {coverage:g} is no share: type one between 0 and 1, as in 0.95")
    known = card.inferences[inference].get("doubts", [])
    if not known:
        raise PretaskError(
            f"{run} says nothing of how often it is right: its training had fewer than {FEWEST_IMAGES} validation "
            "images; train with --validation 0.2, or drop --coverage"
        )
    least = threshold(known, coverage)
    if not least:
        most = len(known) / (len(known) + 1)
        raise PretaskError(
            f"--coverage {coverage:g} needs more validation images than {run} had: type {most:.3f} or less"
        )
    return least


def _answer(
    path: Path, probabilities: Tensor, card: ModelCard, top: int, least: float | None
) -> dict[str, Any]:
    def named(count: int) -> list[dict[str, Any]]:
        best = probabilities.topk(count)
        return [
            {"label": card.class_names[i], "probability": p}
            for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    first = named(min(top, len(card.class_names)))
    answer = {"image": str(path), **first[0], "top": first}
    return answer if least is None else {**answer, "set": named(int((probabilities >= least).sum()))}
