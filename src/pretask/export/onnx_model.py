"""A classifier as ONNX, for onnxruntime and whatever else reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretask.errors import PretaskError, import_extra
from pretask.export.preparation import example_pictures, fitted, takes_pictures
from pretask.export.program import example, trace
from pretask.io.files import write_atomically
from pretask.methods import Classifier, ModelCard

FILE = "model.onnx"
TOLERANCE = 1e-4
"""Largest difference of logits that is let through, relative to the largest logit where that is above 1."""
OF_PICTURES = 1e-3
"""Largest difference of probabilities that is let through where the graph prepares pictures itself."""
_CHECKED = (1, 7)


class OnnxClassifier(nn.Module):
    """What the graph takes → logits, by onnxruntime on the CPU, whatever device it comes from."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        runtime = import_extra("onnxruntime", "onnx", "an ONNX model")
        try:
            self.session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as fault:  # its exceptions have no common class
            raise PretaskError(
                f"{path} is no ONNX model that onnxruntime can read: export it again"
            ) from fault

    def forward(self, given: Tensor) -> Tensor:
        """Return logits."""
        name = self.session.get_inputs()[0].name
        (logits,) = self.session.run(["logits"], {name: given.detach().cpu().numpy()})
        return torch.from_numpy(logits).to(given.device)


def write(folder: Path, classifier: Classifier, card: ModelCard) -> None:
    """Write the model, and compare what it answers with the classifier: for 1 and for 7 images, or for pictures.

    Raises:
        MissingExtra: onnx, onnxscript or onnxruntime is not installed.
        PretaskError: a network that cannot be written, or answers that differ by more than `TOLERANCE`, or of
            pictures by more than `OF_PICTURES`.
    """
    onnx = import_extra("onnx", "onnx", "an ONNX model")
    for package in ("onnxscript", "onnxruntime"):
        import_extra(package, "onnx", "an ONNX model")
    name = "image" if takes_pictures(card) else "images"
    made: Any = torch.onnx.export(
        trace(classifier, card), input_names=[name], output_names=["logits"], dynamo=True, verbose=False
    )
    model = made.model_proto
    facts = {"class_names": card.class_names, "preparation": card.preparation}
    onnx.helper.set_model_props(
        model, {"backbone": card.backbone, **{key: json.dumps(value) for key, value in facts.items()}}
    )

    def save(path: Path) -> None:
        onnx.save(model, path)
        _check(path, classifier, card)

    write_atomically(folder / FILE, save)


def read(folder: Path, card: ModelCard) -> nn.Module:
    """Read the model; see `Read`.

    Raises:
        PretaskError: a damaged file.
        MissingExtra: onnxruntime is not installed.
    """
    return OnnxClassifier(folder / FILE)


@torch.no_grad()
def _check(path: Path, classifier: Classifier, card: ModelCard) -> None:
    written = OnnxClassifier(path)
    if takes_pictures(card):
        for picture in example_pictures(card):
            answers = [logits.softmax(1) for logits in (written(picture), classifier(fitted(picture, card)))]
            off = float((answers[0] - answers[1]).abs().max())
            if not off <= OF_PICTURES:
                height, width = picture.shape[:2]
                raise _answers_otherwise(f"by {off:.1e} in probability for a picture of {height}x{width}")
        return
    for count in _CHECKED:
        images = example(card, count)
        expected = classifier(images)
        off = float((written(images) - expected).abs().max() / expected.abs().max().clamp(min=1))
        if not off <= TOLERANCE:
            raise _answers_otherwise(f"by {off:.1e} for {count} image(s)")


def _answers_otherwise(how: str) -> PretaskError:
    return PretaskError(
        f"the ONNX model answers otherwise than the run, {how}: type --format torch-export or safetensors"
    )
