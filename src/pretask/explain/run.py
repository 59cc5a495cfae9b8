"""Explains trained models side by side: where they look, what they get right and wrong, and how their features lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pretask.errors import PretaskError
from pretask.evaluation.run import for_heads, read_data
from pretask.explain.scene import PARTS, Scene, named_pictures
from pretask.io.documents import write_sealed
from pretask.io.files import make_folder
from pretask.methods import ModelCard, no_head, read_card
from pretask.reports import write_run_report
from pretask.reports.explanations import FOLDER
from pretask.training.device import prepare_host, resolve_device
from pretask.training.guest import as_guest

DEFAULT_PARTS = ("gradcam", "examples", "pretexts", "tsne", "pca")


@as_guest()
def explain(
    runs: Sequence[Path | str],
    *,
    parts: Sequence[str] = DEFAULT_PARTS,
    images: Sequence[Path | str] = (),
    count: int = 6,
    points: int = 2000,
    inference: str | None = None,
    split: str = "test",
    data: Any = None,
    to: Path | str | None = None,
    format: Literal["png", "svg"] = "png",
    seed: int = 0,
    device: str = "auto",
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Draw what models look at and answer, and their features in two dimensions, the same images for all of them.

    Args:
        runs: run folders or exports, of the same images and classes; the first one's data is used.
        parts: names of `PARTS`.
        images: picture files to look at one by one, in place of images drawn from the split.
        count: images drawn to be looked at, evenly over classes as far as that goes.
        points: images at most whose answers or features are shown together.
        inference: the way to answer that is asked; each run's default where None.
        split: of the data.
        data: in place of the first run's own, as `load_data` takes it; where it holds the images of the first run,
            these are used in the run's own splits.
        to: folder to write; "explain" in the first run where None, whose report then shows the pictures.
        format: of the pictures.
        seed: draws images, and starts t-SNE.
        device: "auto", "cpu", "cuda" or "mps".
        skip_bad: leave out images that cannot be read.

    Returns:
        what is written to `explain.json`: {"runs", "data", "notes": what to know of the images, "split", "seed",
        "files": {part: path}} with what every part found, and "folder".

    Raises:
        PretaskError: no such run, part or split; runs of other classes or image sizes; a picture that cannot be read;
            what a part cannot draw.
        MissingExtra: a part needs a package that is not installed.
    """
    if not runs:
        raise PretaskError("there is nothing to explain: give a run folder, or several")
    if count < 1 or points < 3:
        raise PretaskError(f"{count} images and {points} points are too few: give at least 1 and 3")
    draw = {name: PARTS.get(name) for name in parts}
    where, folders = resolve_device(device), [Path(run) for run in runs]
    prepare_host(None, where)
    models = dict(zip(_names(folders), folders, strict=True))
    cards = {name: read_card(path) for name, path in models.items()}
    _check_alike(cards, folders)
    card = cards[next(iter(models))]
    shown = read_data(folders[0], data, card, (split,), skip_bad)
    found = for_heads(shown.images, card, shown.own)
    pictures = named_pictures(images, found.channels, found.image_size) if images else None
    scene = Scene(models, found, split, count, points, seed, where, pictures, inference)
    folder = Path(to) if to is not None else folders[0] / FOLDER
    make_folder(folder, "another folder with --to")
    drawn: dict[str, Any] = {
        "runs": {name: str(path) for name, path in models.items()},
        "data": found.name,
        "notes": list(shown.notes),
        "split": split,
        "seed": seed,
        "files": {},
    }
    for name, part in draw.items():
        path = folder / f"{name}.{format}"
        path.unlink(missing_ok=True)
        drawn |= part(scene, path)
        if path.is_file():
            drawn["files"][name] = str(path)
    write_sealed(folder / "explain.json", drawn)
    if to is None and (folders[0] / "config.yaml").is_file():
        write_run_report(folders[0])
    return {**drawn, "folder": str(folder)}


def _names(folders: Sequence[Path]) -> list[str]:
    """Return what each run is called in pictures: its folder, with the one above where two are alike."""
    short = [folder.resolve().name for folder in folders]
    if len(set(short)) < len(short):
        short = ["/".join(folder.resolve().parts[-2:]) for folder in folders]
    if len(set(short)) < len(short):
        raise PretaskError("a run is given twice: give each once")
    return short


def _check_alike(cards: dict[str, ModelCard], folders: Sequence[Path]) -> None:
    first_name, first = next(iter(cards.items()))
    for (name, card), folder in zip(cards.items(), folders, strict=True):
        if not card.inferences:
            raise no_head(folder)
        for key in ("image_size", "channels", "class_names"):
            if getattr(card, key) != getattr(first, key):
                raise PretaskError(
                    f"{name} and {first_name} differ in {key.replace('_', ' ')} and cannot be shown side by side: "
                    "explain them one by one"
                )
