"""What a file of `torch.export` may hold before torch reads it.

torch's own reader trusts the file: it unpickles constants, loads compiled libraries, imports modules that the types of
a tree name, evaluates the text of symbolic sizes, calls whatever function a node names, and writes names into Python
code. So a copy is made of the parts that an export of a classifier has, each held to the little that it needs.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from pretask.files import check_regular

_TOP = "archive"
_ENTRY = re.compile(
    r"\.data/(serialization_id|version)|archive_format|archive_version|byteorder|models/model\.json"
    r"|data/(weights/(model_weights_config\.json|weight_\d+)|constants/(model_constants_config\.json|tensor_\d+))"
    r"|data/sample_inputs/model\.pt"
)
_NAME = re.compile(r"[\w.+:-]*", re.ASCII)
"""Names of tensors, nodes and versions: neither quotes nor brackets nor "=", so no calls in generated code."""
_LITERAL = re.compile(r"[\w.,>+ -]*", re.ASCII)
_OPERATOR = re.compile(r"torch\.ops\.aten\.(?!from_file|save)([a-z]\w*|_assert\w+|_to_copy)\.\w+", re.ASCII)
"""Operations on tensors; two of them read and write files."""
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
    """Return a copy of a program's archive that holds tensors and a graph of operations on tensors, nothing else.

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
        good = bool(_OPERATOR.fullmatch(text) or _ARITHMETIC.fullmatch(text))
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
