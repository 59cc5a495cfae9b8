"""Classifiers as programs of torch.export, written and read without pickle."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pretask.errors import PretaskError
from pretask.export.operations import ALLOWED, guard_attention
from pretask.export.preparation import WithPreparation, example_pictures, takes_pictures
from pretask.io.files import check_regular, write_atomically
from pretask.methods import Classifier, ModelCard

_TOP = "archive"
_ENTRY = re.compile(
    r"\.data/(serialization_id|version)|archive_format|archive_version|byteorder|models/model\.json"
    r"|data/(weights/(model_weights_config\.json|weight_\d+)|constants/(model_constants_config\.json|tensor_\d+))"
    r"|data/sample_inputs/model\.pt"
)
_NAME = re.compile(r"[\w.+:-]*", re.ASCII)
"""Names of tensors, nodes and versions: neither quotes nor brackets nor "=", so no calls in generated code."""
_LITERAL = re.compile(r"[\w.,>+ -]*", re.ASCII)
_OPERATOR = "torch.ops.aten."
_ARITHMETIC = re.compile(r"_operator\.(add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|getitem)")
_SIZE = re.compile(
    r"(Symbol\('[su]\d+'|Integer|Mul|Add|Pow|Max|Min|Mod|FloorDiv|(positive|integer|evaluate)=(True|False)"
    r"|[-\d(), ])*"
)
"""A symbolic size, as a product or sum of numbers and symbols."""
_TREE_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_FORBIDDEN = ("as_custom_obj", "as_graph", "as_operator", "guards_code", "custom_obj_values")
"""Keys that must have nothing behind them."""


def vetted(path: Path) -> io.BytesIO:
    """Return a copy of a program's archive that holds tensors and a graph of allowed operations, nothing else.

    Raises:
        ValueError: it holds something else.
        OSError: no regular file.
        zipfile.BadZipFile: it is no archive, or damaged.
    """
    check_regular(path)
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as clean:
        seen: set[str] = set()
        for entry in archive.infolist():
            name = entry.filename.partition("/")[2]
            if name in seen or not _ENTRY.fullmatch(name) or entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"it holds {entry.filename[:80]}")
            seen.add(name)
            content = archive.read(entry)
            clean.writestr(
                f"{_TOP}/{name}", _vetted_json(name, content) if name.endswith(".json") else content
            )
    copy.seek(0)
    return copy


def _vetted_json(name: str, content: bytes) -> str:
    document = json.loads(content)
    if name.endswith("_config.json"):
        for payload in document["config"].values():
            if payload["use_pickle"] is not False or not _ENTRY.fullmatch(
                f"{name.rpartition('/')[0]}/{payload['path_name']}"
            ):
                raise ValueError(f"{name} speaks of pickles")
    _check(document, "")
    return json.dumps(document)


def _check(node: Any, key: str) -> None:
    """Check a part of a document that stands behind `key`; metadata, which is for people, is taken out."""
    if key in _FORBIDDEN and node:
        raise ValueError(f"it has {key}")
    if isinstance(node, dict):
        if "metadata" in node:
            node["metadata"] = {}
        for inner, value in node.items():
            _check_text(inner, "")
            _check(value, inner)
    elif isinstance(node, list):
        for value in node:
            _check(value, key)
    elif isinstance(node, str):
        _check_text(node, key)


def _check_text(text: str, key: str) -> None:
    if key in ("in_spec", "out_spec"):
        good = not text or _is_plain_tree(json.loads(text))
    elif key == "expr_str":
        good = _SIZE.fullmatch(text) is not None
    elif text.startswith(("torch.", "_operator", "math", "#")):
        allowed = text.startswith(_OPERATOR) and text.removeprefix(_OPERATOR) in ALLOWED
        good = allowed or _ARITHMETIC.fullmatch(text) is not None
    else:
        good = bool((_LITERAL if key == "as_string" else _NAME).fullmatch(text))
    if not good:
        raise ValueError(f"it holds {text[:80]!r}")


def _is_plain_tree(node: Any) -> bool:
    """Whether a tree of arguments consists of tuples, lists and dicts alone."""
    if isinstance(node, list):
        return all(map(_is_plain_tree, node))
    if isinstance(node, dict):
        return (
            node.keys() == {"type", "context", "children_spec"}
            and node["type"] in _TREE_TYPES
            and node["context"] in (None, "null", "[]")
            and _is_plain_tree(node["children_spec"])
        )
    return type(node) is int  # the version of the tree's format


FILE = "model.pt2"


def example(card: ModelCard, count: int = 2) -> Tensor:
    """Return random images [count, C, H, W] in [0, 1] of the model's size, always the same."""
    draws = torch.Generator().manual_seed(0)
    return torch.rand(count, card.channels, *card.image_size, generator=draws)


def trace(classifier: Classifier, card: ModelCard) -> ExportedProgram:
    """Return the classifier as a program: of images [B, C, H, W], B of any size, or of a picture, as the card says.

    Raises:
        PretaskError: a network that cannot be traced.
    """
    model: nn.Module = classifier.eval()
    given, names = example(card), {"images": {0: Dim("batch", min=1)}}
    if takes_pictures(card):
        model = WithPreparation(model, card).eval()
        given = example_pictures(card)[0]
        names = {"image": {0: Dim("height", min=1), 1: Dim("width", min=1)}}
    try:
        return torch.export.export(model, (given,), dynamic_shapes=names)
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
    """Read the program; nothing but tensors and a graph of operations of `operations.ALLOWED` is let in.

    Raises:
        PretaskError: a damaged file, or one that holds other objects.
    """
    path = folder / FILE
    try:
        with _tensors_alone():
            return guard_attention(torch.export.load(vetted(path)).module())
    except Exception as fault:  # archives, JSON and pickles fail in many ways
        raise PretaskError(
            f"{path} is no program that can be read safely ({_first_line(fault)}): export the model again, "
            "or as safetensors"
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
