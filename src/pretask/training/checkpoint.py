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
_LARGEST = 2.0**53


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
    if kind not in ("list", "tuple") or not isinstance(content, list):
        raise ValueError(f"{str(kind)[:80]!r} is no kind of node")
    values = [_unpack(value, tensors) for value in content]
    return tuple(values) if kind == "tuple" else values


def misfit(found: Any, fitting: Any, where: str) -> str:
    """Return in a few words where a tree differs from one of the right form; "" where it does not.

    Tensors must have the same type and shape, mappings the same keys, lists and tuples the same length, and leaves be
    of the same kind: numbers finite, whole ones not negative.

    Args:
        found: from a file.
        fitting: of the right form.
        where: how `found` is called.
    """
    if isinstance(fitting, Tensor):
        if not isinstance(found, Tensor):
            return f"{where} is no tensor"
        facts, needed = ((tensor.dtype, tuple(tensor.shape)) for tensor in (found, fitting))
        return "" if facts == needed else f"{where} is {facts[0]} {list(facts[1])}, not {list(needed[1])}"
    if isinstance(fitting, dict):
        if not isinstance(found, dict) or found.keys() != fitting.keys():
            return f"{where} has other parts"
        inner = (misfit(found[key], value, f"{where}.{key}") for key, value in fitting.items())
        return next(filter(None, inner), "")
    if isinstance(fitting, list | tuple):
        if type(found) is not type(fitting) or len(found) != len(fitting):
            return f"{where} has another length"
        inner = (
            misfit(*pair, f"{where}.{place}") for place, pair in enumerate(zip(found, fitting, strict=True))
        )
        return next(filter(None, inner), "")
    if isinstance(fitting, float) and type(found) in (int, float):
        return "" if abs(found) <= _LARGEST else f"{where} is no finite number"
    if type(found) is not type(fitting) or (type(found) is int and not 0 <= found <= _LARGEST):
        return f"{where} is not possible"
    return ""


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore the optimiser, its buffers laid out in memory, or shared out, as the weights they belong to.

    Raises:
        ValueError: the state is not that of such an optimiser over these weights.
    """
    if fault := _optimizer_misfit(optimizer, state):
        raise ValueError(fault)
    own = optimizer.state_dict()["param_groups"]
    groups = [{**group, **saved} for group, saved in zip(own, state["param_groups"], strict=True)]
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    for parameter, buffers in optimizer.state.items():
        for name, value in buffers.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                buffers[name] = torch.empty_like(parameter).copy_(shared_like(value, parameter))


def _optimizer_misfit(optimizer: torch.optim.Optimizer, state: Any) -> str:
    """Return where a state differs from one of this optimiser, which may have made no step yet; "" where it fits.

    Settings that another version of torch has, or lacks, may be missing or be there.
    """
    if not isinstance(state, dict) or state.keys() != {"state", "param_groups"}:
        return "optimizer has other parts"
    own = optimizer.state_dict()["param_groups"]
    if not isinstance(state["param_groups"], list) or len(state["param_groups"]) != len(own):
        return "optimizer.param_groups has another length"
    for place, (saved, group) in enumerate(zip(state["param_groups"], own, strict=True)):
        where = f"optimizer.param_groups.{place}"
        if not isinstance(saved, dict) or "params" not in saved:
            return f"{where} names no weights"
        known = {key: value for key, value in group.items() if key in saved}
        if fault := misfit({key: saved[key] for key in known}, known, where):
            return fault
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if not isinstance(state["state"], dict):
        return "optimizer.state has other parts"
    for place, buffers in state["state"].items():
        if type(place) is not int or not 0 <= place < len(weights) or not isinstance(buffers, dict):
            return f"optimizer.state.{place} belongs to no weight"
        for name, value in buffers.items():
            shapes = (weights[place].shape, torch.Size())
            if not (value is None or (isinstance(value, Tensor) and value.shape in shapes)):
                return f"optimizer.state.{place}.{name} does not fit its weight"
    return ""
