"""Writes the deployable classifier of a run, with a model card for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pretask.errors import PretaskError
from pretask.export.card_text import model_card_text
from pretask.export.formats import get_format
from pretask.files import make_folder, write_atomically
from pretask.methods import load_classifier, read_card
from pretask.training.run_folder import RunFolder


def export_model(
    run: Path | str, to: Path | str | None = None, inference: str | None = None, format: str = "safetensors"
) -> Path:
    """Write one inference of a run: the model, `model.json`, and a model card `README.md`.

    Args:
        run: a run folder, or an export as safetensors.
        to: folder to write; where None `<run>-<inference>` beside the run, with the format behind it unless that is
            safetensors.
        inference: a way to answer; None is the run's default.
        format: a name of `FORMATS`.

    Returns:
        the folder.

    Raises:
        PretaskError: no such run, inference or format; a folder that holds anything but such an export; a model
            that the format cannot hold.
        MissingExtra: the format needs a package that is not installed.
    """
    run, form = Path(run), get_format(format)
    card = read_card(run)
    name = inference or card.inference
    classifier = load_classifier(run, name)
    ending = "" if format == "safetensors" else f"-{format}"
    folder = Path(to) if to is not None else run.with_name(f"{run.name}-{name}{ending}")
    _check_room(folder, form.file)
    make_folder(folder)
    results = RunFolder(run).read_results() if (run / "results.json").is_file() else {}
    form.write(folder, classifier, replace(card, inference=name))
    text = model_card_text(card, name, classifier.num_views, results, run, format)
    write_atomically(folder / "README.md", lambda path: path.write_text(text))
    return folder


def _check_room(folder: Path, file: str) -> None:
    """Refuse a folder whose files an export would overwrite or stand among; the same export may be written again."""
    if folder.exists() and not folder.is_dir():
        raise PretaskError(f"{folder} is a file: give a folder to export to")
    others = (
        {path.name for path in folder.iterdir()} - {file, "model.json", "README.md"}
        if folder.exists()
        else set()
    )
    if others:
        raise PretaskError(
            f"{folder} holds other files ({min(others)}): give a new or empty folder to export to"
        )
