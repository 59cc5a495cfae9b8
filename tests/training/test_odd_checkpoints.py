"""Checkpoints that are whole files, but hold another tree than a training's, end in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from pretask import tasks
from pretask.config.files import load_any_config
from pretask.errors import PretaskError
from pretask.tasks import Supervised
from pretask.training.checkpoint import Checkpoints, load_tree, save_tree
from pretask.training.snapshot import restore_snapshot
from pretask.training.weights import Weights, place_weights

CPU = torch.device("cpu")
ODD: tuple[Any, ...] = (
    None, True, -1, 2**62, 0.5, math.nan, math.inf, "x", "", [], [1], (), {}, {"a": 1}, {1: 2}, torch.zeros(0),
    torch.zeros(3, 2), torch.tensor(math.nan), torch.zeros(5000, dtype=torch.uint8), [[[]]], "9" * 400,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Weights[Any]]:
    """A run with a checkpoint, and weights as its training would begin with."""
    from pretask.config.files import from_flat

    config = from_flat({
        "data": "digits", "per_class": 4, "backbone": "resnet8", "method": "baseline", "epochs": 1, "batch_size": 20,
        "lr": 0.1, "threads": 1, "device": "cpu", "precision": "fp32", "ema": 0.9, "name": "run",
        "runs": str(tmp_path_factory.mktemp("runs")),
    })  # fmt: skip
    folder = Path(tasks.train(config, report=False)["folder"])
    task = Supervised.read(load_any_config(folder / "config.yaml"))
    config = task.decide(CPU)
    return folder, place_weights(task.build(), config.optim, config.session, Accelerator(cpu=True))


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all nodes of a tree."""
    yield path
    inner = (
        tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    )
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(tree: Any, path: tuple[Any, ...], draw: Random) -> Any:
    """Return a tree with another value at a path, or without it, or with something beside it."""
    if not path:
        return draw.choice(ODD)
    key, rest = path[0], path[1:]
    parts = dict(tree) if isinstance(tree, dict) else dict(enumerate(tree))
    how = draw.random()
    if rest or how < 0.6:
        parts[key] = changed(parts[key], rest, draw)
    elif how < 0.8:
        del parts[key]
    else:
        parts["more" if isinstance(tree, dict) else len(parts)] = draw.choice(ODD)
    return parts if isinstance(tree, dict) else type(tree)(parts.values())


def restored(folder: Path, tree: Any, weights: Weights[Any], place: Path) -> Any:
    save_tree(tree, place / "last/state.safetensors")
    return restore_snapshot(Checkpoints(place / "last"), weights, Accelerator(cpu=True), pytest.fail)


def test_any_odd_tree_ends_in_a_line_or_does_no_harm(run: tuple[Path, Weights[Any]], tmp_path: Path) -> None:
    folder, weights = run
    tree = load_tree(folder / "last/state.safetensors")
    state = torch.get_rng_state()
    paths = sorted(places(tree), key=lambda path: (len(path), str(path)))
    near = [
        path for path in paths if path[:1] in ((), ("position",), ("ranks",), ("optimizer",)) or len(path) < 3
    ]
    refused = 0
    for number in range(160):
        draw = Random(number)
        path = draw.choice(near if number % 4 else paths)
        odd = changed(tree, path, draw)
        try:
            position, meter = restored(folder, odd, weights, tmp_path)
        except PretaskError as fault:
            assert "\n" not in str(fault) and len(str(fault)) < 1000
            assert str(tmp_path) in str(fault)
            refused += 1
        else:
            assert position.step >= 0 and all(isinstance(value, Tensor) for value in meter.sums.values()), (
                path
            )
    assert refused > 100
    position, _ = restored(folder, tree, weights, tmp_path)
    assert position.epoch == 1
    assert all(
        torch.equal(weights.method.state_dict()[name], value) for name, value in tree["method"].items()
    )
    torch.set_rng_state(state)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("method", "head.bias"), torch.zeros(3), r"method.head.bias is torch.float32 \[3\], not \[10\]"),
        (("optimizer", "state", 0, "momentum_buffer"), torch.zeros(7), "state.0.momentum_buffer does not fit"),
        (("optimizer", "state", 99999), {}, "optimizer.state.99999 belongs to no weight"),
        (("optimizer", "param_groups", 0, "momentum"), "x", "optimizer.param_groups.0.momentum"),
        (("position", "step"), -1, "position.step is not possible"),
        (("position", "seconds"), math.nan, "position.seconds is no finite number"),
        (("ranks", 0, "cpu"), torch.zeros(9, dtype=torch.uint8), "holds no checkpoint of a training"),
        (("ranks", 0, "meter", "sums"), [], "holds no checkpoint of a training"),
        ((), [1, 2], "holds no checkpoint of a training"),
    ],
)  # fmt: skip
def test_what_is_odd_is_named(
    run: tuple[Path, Weights[Any]], tmp_path: Path, path: tuple[Any, ...], value: Any, words: str
) -> None:
    folder, weights = run
    tree = load_tree(folder / "last/state.safetensors")
    place: Any = tree
    for key in path[:-1]:
        place = place[key]
    if path:
        place[path[-1]] = value
    with pytest.raises(PretaskError, match=words):
        restored(folder, tree if path else value, weights, tmp_path)
