"""Checkpoints: trees of tensors and plain values in safetensors files, the newest and the one before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretask.distributed.sharding import shared_like
from pretask.errors import PretaskError
from pretask.io.tensors import DamagedFile, read_tensors, write_tensors

_TREE = "tree"


class Checkpoints:
    """The newest checkpoint of a run and the one before it, which stands in for a damaged newest one.

    Args:
        folder: of the two; it is made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self.newest = folder / "state.safetensors"
        self.previous = folder / "previous.safetensors"
        self._newest_is_good = True

    @property
    def exist(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self.newest.is_file() or self.previous.is_file()

    def save(self, tree: Any) -> None:
        """Write the newest checkpoint; what was the newest becomes the previous one, unless it was found damaged.

        Raises:
            TypeError: a leaf of another type than `save_tree` takes.
            PretaskError: it cannot be written; both are as they were.
        """
        save_tree(tree, self.newest, keep=self.previous if self._newest_is_good else None)
        self._newest_is_good = True

    def load(self, warn: Callable[[str], object]) -> Any:
        """Return the newest checkpoint that is whole.

        Args:
            warn: is called with one line where that is the previous one.

        Raises:
            PretaskError: neither is whole.
        """
        try:
            return load_tree(self.newest)
        except DamagedFile as fault:
            reason = str(fault)
        self._newest_is_good = False
        try:
            tree = load_tree(self.previous)
        except DamagedFile:
            raise PretaskError(
                f"the checkpoint {self.newest} is damaged ({reason}): "
                f"delete {self.newest.parent} to start the run again"
            ) from None
        warn(f"the checkpoint {self.newest} is damaged ({reason}): resuming from the one before it")
        return tree

    def drop_previous(self) -> None:
        """Remove the previous checkpoint, which a finished run does not need."""
        self.previous.unlink(missing_ok=True)


def save_tree(tree: Any, path: Path, keep: Path | None = None) -> None:
    """Write a tree of dicts, lists, tuples, tensors, numbers, strings and None.

    Args:
        tree: what to write.
        path: of the file; its folder is made.
        keep: where what was at `path` goes; None gives it up.

    Raises:
        TypeError: a leaf of another type.
        PretaskError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    metadata = {_TREE: json.dumps(_pack(tree, tensors))}
    write_tensors(path, tensors, metadata, keep)


def load_tree(path: Path) -> Any:
    """Read what `save_tree` wrote, tensors on the CPU.

    Raises:
        DamagedFile: no such file, or not what was written.
    """
    tensors, metadata = read_tensors(path, known=(_TREE,))
    try:
        return _unpack(json.loads(metadata[_TREE]), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(f"it holds no tree of tensors: {error}") from error


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
    """Restore the optimiser, its buffers laid out in memory, or shared out, as the weights they belong to."""
    optimizer.load_state_dict(state)
    for parameter, buffers in optimizer.state.items():
        for name, value in buffers.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                buffers[name] = torch.empty_like(parameter).copy_(shared_like(value, parameter))
