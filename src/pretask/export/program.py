"""A classifier as a program of `torch.export`: weights and computation in one file, without this library."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pretask.errors import PretaskError
from pretask.export.program_archive import vetted
from pretask.files import write_atomically
from pretask.methods import Classifier, ModelCard

FILE = "model.pt2"


def example(card: ModelCard, count: int = 2) -> Tensor:
    """Return random images [count, C, H, W] in [0, 1] of the model's size, always the same."""
    draws = torch.Generator().manual_seed(0)
    return torch.rand(count, card.channels, *card.image_size, generator=draws)


def trace(classifier: Classifier, card: ModelCard) -> ExportedProgram:
    """Return the classifier as a program of images [B, C, H, W], B of any size.

    Raises:
        PretaskError: a network that cannot be traced.
    """
    shapes = {"images": {0: Dim("batch", min=1)}}
    try:
        return torch.export.export(classifier.eval(), (example(card),), dynamic_shapes=shapes)
    except Exception as fault:  # what torch raises here has no common class
        raise PretaskError(
            f"{card.backbone} with inference {card.inference} cannot be written as a program "
            f"({str(fault).splitlines()[0]}): type --format safetensors"
        ) from fault


def write(folder: Path, classifier: Classifier, card: ModelCard) -> None:
    """Write the program; see `Write`."""
    buffer = io.BytesIO()
    torch.export.save(trace(classifier, card), buffer)
    write_atomically(folder / FILE, lambda path: path.write_bytes(buffer.getbuffer()))


def read(folder: Path, card: ModelCard) -> nn.Module:
    """Read the program; nothing but tensors and a graph of operations on tensors is let in.

    Raises:
        PretaskError: a damaged file, or one that holds other objects.
    """
    path = folder / FILE
    try:
        with _tensors_alone():
            return torch.export.load(vetted(path)).module()
    except Exception as fault:  # archives, JSON and pickles fail in many ways
        raise PretaskError(
            f"{path} is no program that can be read safely ({_first_line(fault)}): export the model again"
        ) from fault


@contextmanager
def _tensors_alone() -> Iterator[None]:
    """Keep torch from falling back to unpickling whatever a file holds."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _first_line(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0][:200]
