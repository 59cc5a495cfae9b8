"""Trees of tensors and plain values in one safetensors file: no pickle, written at once or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pretask.errors import PretaskError
from pretask.files import write_atomically


def save_tree(tree: Any, path: Path) -> None:
    """Write a tree of dicts, lists, tuples, tensors, numbers, strings and None.

    Raises:
        TypeError: a leaf of another type.
        PretaskError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    metadata = {"tree": json.dumps(_pack(tree, tensors))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def load_tree(path: Path) -> Any:
    """Read what `save_tree` wrote, tensors on the CPU.

    Raises:
        PretaskError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            packed = json.loads(file.metadata()["tree"])
            return _unpack(packed, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise PretaskError(
            f"the checkpoint {path} is damaged ({error}): delete {path.parent} to start the run again"
        ) from None


def _pack(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        name = str(len(tensors))
        # A copy: safetensors refuses tensors that share memory, and contiguous() may return its argument.
        tensors[name] = node.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, _pack(value, tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return {type(node).__name__: [_pack(value, tensors) for value in node]}
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"a checkpoint cannot hold a {type(node).__name__}")


def _unpack(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(value, tensors) for key, value in content}
    values = [_unpack(value, tensors) for value in content]
    return tuple(values) if kind == "tuple" else values


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore the optimiser, its buffers laid out in memory as the weights they belong to."""
    optimizer.load_state_dict(state)
    for parameter, buffers in optimizer.state.items():
        for name, value in buffers.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                buffers[name] = torch.empty_like(parameter).copy_(value)
