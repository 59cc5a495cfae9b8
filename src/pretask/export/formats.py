"""The formats of an export: what each writes beside `model.json`, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from pretask.errors import PretaskError, unknown_name
from pretask.export import onnx_model, program
from pretask.export.preparation import OfImages, takes_pictures
from pretask.export.program import example
from pretask.io.documents import one_line
from pretask.io.files import write_json
from pretask.methods import Classifier, ModelCard, load_classifier, read_card, save_model

Write = Callable[[Path, Classifier, ModelCard], None]
"""Writes a classifier into a folder, the card's only inference; the folder is there."""
Read = Callable[[Path, ModelCard], nn.Module]
"""Returns what turns images in [0, 1] into logits, or a picture where the card says that the graph prepares it."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        file: the model's, beside `model.json`.
        write, read: see `Write` and `Read`.
        needs: the packages it takes beyond pretask's own, for people.
    """

    file: str
    write: Write
    read: Read
    needs: str = ""


def _write_safetensors(folder: Path, classifier: Classifier, card: ModelCard) -> None:
    save_model(folder, {card.inference: classifier}, card)


def _with_card(write: Write) -> Write:
    def both(folder: Path, classifier: Classifier, card: ModelCard) -> None:
        write(folder, classifier, card)
        only = {card.inference: card.inferences[card.inference]}
        write_json(folder / "model.json", asdict(replace(card, inferences=only)))

    return both


FORMATS: dict[str, Format] = {
    "safetensors": Format(
        "model.safetensors", _write_safetensors, lambda folder, card: load_classifier(folder, card=card)
    ),
    "torch-export": Format(program.FILE, _with_card(program.write), program.read),
    "onnx": Format(onnx_model.FILE, _with_card(onnx_model.write), onnx_model.read, "onnx, onnxruntime"),
}
"""Formats of an export, by the name that `--format` takes."""


def get_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        PretaskError: an unknown name; the message names the nearest.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    return FORMATS[name]


def load_model(folder: Path | str, inference: str | None = None, card: ModelCard | None = None) -> nn.Module:
    """Return what turns images [B, C, H, W] in [0, 1] into logits [B, N], of a run or of an export in any format.

    Args:
        folder: a run folder or an export.
        inference: one of the saved ways to answer; None is the model's default.
        card: the folder's, where it was read before.

    Raises:
        PretaskError: a missing or damaged file, an unknown inference, a model without a class head.
    """
    folder = Path(folder)
    card = card or read_card(folder)
    others = [known for name, known in FORMATS.items() if name != "safetensors"]
    found = next((known for known in others if (folder / known.file).is_file()), None)
    if found is None or (folder / FORMATS["safetensors"].file).is_file():
        return load_classifier(folder, inference, card)
    if inference not in (None, card.inference):
        raise PretaskError(
            f"{folder} is an export of inference '{card.inference}' alone, not of '{inference}': drop --inference, "
            "or export that one"
        )
    model = found.read(folder, card)
    if takes_pictures(card):
        model = OfImages(model)
    _check_answer(model, card, folder / found.file)
    return model


@torch.no_grad()
def _check_answer(model: nn.Module, card: ModelCard, path: Path) -> None:
    """Refuse a file whose model does not answer as the card says."""
    try:
        shape = tuple(model(example(card, count=1)).shape)
    except Exception as fault:  # of either runtime, whose errors have no common class
        raise PretaskError(f"{path} cannot be run ({one_line(fault)}): export the model again") from fault
    if shape != (1, len(card.class_names)):
        raise PretaskError(
            f"{path} answers {list(shape)} for one image, model.json speaks of {len(card.class_names)} classes: "
            "both files must come from the same export"
        )
