"""A classifier as ONNX, for onnxruntime and whatever else reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretask.errors import PretaskError, import_extra
from pretask.export.program import example, trace
from pretask.io.files import write_atomically
from pretask.methods import Classifier, ModelCard

FILE = "model.onnx"
TOLERANCE = 1e-4
"""Largest difference of logits that is let through, relative to the largest logit where that is above 1."""
_CHECKED = (1, 7)


class OnnxClassifier(nn.Module):
    """Images [B, C, H, W] in [0, 1] → logits [B, N], by onnxruntime on the CPU, whatever device they come from."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        runtime = import_extra("onnxruntime", "onnx", "an ONNX model")
        try:
            self.session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as fault:  # its exceptions have no common class
            raise PretaskError(
                f"{path} is no ONNX model that onnxruntime can read: export it again"
            ) from fault

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        (logits,) = self.session.run(["logits"], {"images": images.detach().cpu().numpy()})
        return torch.from_numpy(logits).to(images.device)


def write(folder: Path, classifier: Classifier, card: ModelCard) -> None:
    """Write the model, and compare what it answers with the classifier for batches of 1 and of 7 images.

    Raises:
        MissingExtra: onnx, onnxscript or onnxruntime is not installed.
        PretaskError: a network that cannot be written, or answers that differ by more than `TOLERANCE`.
    """
    onnx = import_extra("onnx", "onnx", "an ONNX model")
    for package in ("onnxscript", "onnxruntime"):
        import_extra(package, "onnx", "an ONNX model")
    made: Any = torch.onnx.export(
        trace(classifier, card), input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
    )
    model = made.model_proto
    onnx.helper.set_model_props(
        model, {"class_names": json.dumps(card.class_names), "backbone": card.backbone}
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
    for count in _CHECKED:
        images = example(card, count)
        expected = classifier(images)
        off = float((written(images) - expected).abs().max() / expected.abs().max().clamp(min=1))
        if not off <= TOLERANCE:
            raise PretaskError(
                f"the ONNX model answers otherwise than the run, by {off:.1e} for {count} image(s): "
                "type --format torch-export or safetensors"
            )
