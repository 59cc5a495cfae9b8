"""Weights from a file: read without running code, fitted to a network by name or by order, and counted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from pretask.errors import PretaskError
from pretask.io.documents import one_line
from pretask.io.files import check_regular
from pretask.io.tensors import DamagedFile, read_tensors

CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net")
"""Keys under which programs keep a state dict beside other things; averaged weights come first."""
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "0.")
"""What programs put before names of weights; fastai's networks are a body, 0, and a head, 1."""
HEADS = {
    "fc", "_fc", "classifier", "head", "heads", "head_dist", "linear", "last_linear", "logits", "output",
    "projector", "projection_head", "predictor",
}  # fmt: skip
"""First parts of names of classifiers and other heads, which are left out."""
COUNTER = "num_batches_tracked"
"""Of batch norms; older files do not have it, and only norms without momentum read it."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Fit:
    """How a file's tensors go into a network.

    Attributes:
        found: by the network's names, in the network's shapes.
        unplaced: the file's names that are no part of a head and have no place.
        heads: the file's names that are left out, as heads are.
        summed: whether a first convolution of colours was brought to other channels.
        in_order: whether names differ and tensors were found by kind, shape and order.
    """

    found: Tensors
    unplaced: tuple[str, ...]
    heads: tuple[str, ...]
    summed: bool = False
    in_order: bool = False


def load_weights(network: nn.Module, path: Path, name: str, convert: Callable[[Tensors], Tensors]) -> str:
    """Give a network the weights of a file, and return in one line what was taken and what was left out.

    Args:
        network: without a classifier; changed in place.
        path: .safetensors, or what `torch.save` wrote, of which only tensors and plain values are read.
        name: of the network, for messages.
        convert: names and shapes of other releases of the network into its own.

    Raises:
        PretaskError: the file cannot be read, would run code, or does not fit the network completely.
    """
    if path.name == "model.safetensors" and path.with_name("model.json").is_file():
        raise PretaskError(f"{path} is of a run of pretask: type --init {path.parent} instead of --weights")
    given, ordered = read_weights(path)
    wanted = {key: value for key, value in network.state_dict().items() if not key.endswith(COUNTER)}
    fits = [(_by_name(wanted, tensors, rest), tensors, rest) for tensors, rest in _readings(given)]
    nearest, tensors, rest = max(fits, key=lambda fit: len(fit[0].found))
    fit = nearest
    if not _complete(fit, wanted):
        others = [_by_name(wanted, convert(tensors), rest)]
        if ordered:
            others += [_by_order(wanted, theirs, rest) for _, theirs, rest in fits]
        fit = next((other for other in others if _complete(other, wanted)), nearest)
    if not _complete(fit, wanted):
        raise PretaskError(
            f"{path} does not fit {name}: {_difference(nearest, wanted, tensors)}: "
            "type the --backbone that it was saved from, or drop --weights"
        )
    network.load_state_dict(fit.found, strict=False)  # complete but for the counters of batch norms
    return (
        f"weights of {path.name}: all {len(wanted)} tensors found"
        + (" by their order, since names differ" if fit.in_order else "")
        + (", the first convolution's colours brought to other channels" if fit.summed else "")
        + (f"; left out: {_listed(fit.heads)}" if fit.heads else "")
    )


def read_weights(path: Path) -> tuple[Tensors, bool]:
    """Return the tensors of a file by name, out of their containers, and whether they are in the network's order.

    Raises:
        PretaskError: no such file, one that cannot be read, would run code, or holds no tensors.
    """
    if not path.is_file():
        raise PretaskError(f"no file {path}: type --weights with a .safetensors or .pth file of weights")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    while isinstance(content, Mapping):
        inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    named = content.items() if isinstance(content, Mapping) else ()
    tensors = {
        key: value
        for key, value in named
        if isinstance(key, str) and isinstance(value, Tensor) and value.layout is torch.strided
    }
    if not tensors:
        raise PretaskError(
            f"{path} holds no weights by name: type --weights with the state dict of a network"
        )
    return tensors, path.suffix != ".safetensors"  # which sorts its tensors by name


def _read_safetensors(path: Path) -> object:
    try:
        return read_tensors(path, known=("format",))[0]
    except DamagedFile as fault:
        raise PretaskError(f"cannot read {path} ({fault}): type --weights with another file") from None


def _read_pickle(path: Path) -> object:
    try:
        check_regular(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which do not matter to who only reads
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise PretaskError(
            f"{path} holds more than tensors and plain values, and reading that could run code: type --weights "
            "with a state dict, as torch.save(network.state_dict(), …) writes it, or with a .safetensors file"
        ) from None
    except Exception as fault:  # a damaged file shows in many ways
        raise PretaskError(
            f"cannot read {path} ({one_line(fault)}): type --weights with another file"
        ) from None


def _readings(given: Tensors) -> Iterator[tuple[Tensors, tuple[str, ...]]]:
    """Yield the tensors with prefixes taken off in all ways that make sense, and the names that lack one of these."""
    queue: list[tuple[Tensors, tuple[str, ...]]] = [(given, ())]
    while queue:
        tensors, rest = queue.pop(0)
        yield tensors, rest
        for prefix in PREFIXES:
            inner = {
                key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
            }
            if inner:
                outer = tuple(key for key in tensors if not key.startswith(prefix))
                queue.append((inner, rest + outer))


def _by_name(wanted: Tensors, given: Tensors, rest: tuple[str, ...]) -> Fit:
    found, summed = _fitted(wanted, {key: given[key] for key in wanted if key in given})
    left = [key for key in given if key not in wanted and not key.endswith(COUNTER)]
    heads = _heads(given)
    unplaced = tuple(key for key in left if key not in heads)
    return Fit(found, unplaced, (*(key for key in left if key in heads), *rest), summed)


def _by_order(wanted: Tensors, given: Tensors, rest: tuple[str, ...]) -> Fit:
    """Return a fit of tensors to those of the same kind in the same order; one without tensors where numbers differ."""
    heads = _heads(given)
    body = {key: value for key, value in given.items() if key not in heads and not key.endswith(COUNTER)}
    theirs, ours = _kinds(body), _kinds(wanted)
    numbers = {kind: len(names) for kind, names in theirs.items()}
    if numbers != {kind: len(names) for kind, names in ours.items()}:
        return Fit({}, (), ())
    pairs = {
        name: body[key] for kind, names in ours.items() for name, key in zip(names, theirs[kind], strict=True)
    }
    found, summed = _fitted(wanted, pairs)
    return Fit(found, (), (*heads, *rest), summed, in_order=True)


def _kinds(tensors: Tensors) -> dict[tuple[str, int], list[str]]:
    """Return the names in their order by kind: the last part, and the dimensions of the weight of the same module."""
    kinds: dict[tuple[str, int], list[str]] = {}
    for key, value in tensors.items():
        module, _, leaf = key.rpartition(".")
        beside = tensors.get(f"{module}.weight", value)
        kinds.setdefault((leaf, beside.dim()), []).append(key)
    return kinds


def _heads(given: Tensors) -> dict[str, None]:
    """Return the names of a file's heads in their order: by their first part, or the last module if it is linear."""
    names = [key for key in given if key.split(".")[0] in HEADS]
    last = next(reversed(given), "").rpartition(".")[0]
    weight = given.get(f"{last}.weight")
    if not names and weight is not None and weight.dim() == 2:
        names = [key for key in given if key.rpartition(".")[0] == last]
    return dict.fromkeys(names)


def _fitted(wanted: Tensors, given: Tensors) -> tuple[Tensors, bool]:
    """Return the given tensors that fit by shape, and whether the first convolution was fitted to other channels."""
    found, summed = {}, False
    first = next((key for key, value in wanted.items() if value.dim() == 4), "")
    for key, tensor in given.items():
        like = wanted[key]
        if tensor.is_floating_point() != like.is_floating_point():
            continue
        if tensor.shape == like.shape:
            found[key] = tensor
        elif key == first and _of_colours(tensor, like):
            from timm.models import adapt_input_conv  # importing timm takes seconds

            found[key], summed = adapt_input_conv(like.shape[1], tensor), True
    return found, summed


def _of_colours(tensor: Tensor, like: Tensor) -> bool:
    """Whether a tensor is a convolution of three channels, and one of other channels would have its shape."""
    shape = tuple(tensor.shape)
    return len(shape) == 4 and shape[1] == 3 and (shape[0], like.shape[1], *shape[2:]) == tuple(like.shape)


def _complete(fit: Fit, wanted: Tensors) -> bool:
    return len(fit.found) == len(wanted) and not fit.unplaced


def _difference(fit: Fit, wanted: Tensors, given: Tensors) -> str:
    """Return in words how much of a network a file has, and where it is another one."""
    number = len(wanted)
    for key, like in wanted.items():
        if key not in fit.found:
            there = f"not in the file, which begins with {next(iter(given))}"
            if key in given:
                there = f"{_shape(given[key])} instead of {_shape(like)}"
            return f"{len(fit.found)} of {number} tensors match, the first that does not is {key} ({there})"
    return f"all {number} tensors match, but {len(fit.unplaced)} more have no place: {_listed(fit.unplaced)}"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _listed(names: Iterable[str], most: int = 3) -> str:
    every = tuple(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
