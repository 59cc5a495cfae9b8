"""SIGKILL in the midst of writing a checkpoint: the run that goes on ends in the weights of one that was let be."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forked import Forked
from pretask.config.files import AnyConfig, build_config
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.io import tensors as tensor_files
from pretask.tasks import pretrain, train, train_few_shot
from pretask.training.checkpoint import load_tree
from pretask.training.run_folder import RunFolder

pytestmark = pytest.mark.slow

SMALL = {
    "data": "digits", "backbone": "resnet8", "epochs": 2, "threads": 1, "device": "cpu", "precision": "fp32",
    "checkpoint_steps": 1,
}  # fmt: skip
KINDS: dict[str, tuple[type[AnyConfig], Callable[[Any], dict[str, Any]], dict[str, Any]]] = {
    "train": (RunConfig, train, {"method": "sla", "per_class": 8, "batch_size": 16, "ema": 0.9}),
    "pretrain": (
        PretrainConfig, pretrain,
        {
            "base": "byol", "per_class": 26, "batch_size": 64, "hidden_size": 32, "embedding_size": 16,
            "warmup_epochs": 0.5,
        },
    ),
    "few-shot": (FewShotConfig, train_few_shot, {"episodes": 4, "ways": 2, "queries": 3, "test_episodes": 30}),
}  # fmt: skip
WHOLE, BEFORE, HALF = "state.safetensors", "previous.safetensors", ".tmp"
LEFT = {
    "before": {WHOLE, BEFORE, HALF},
    "half": {WHOLE, BEFORE, HALF},
    "between the renames": {BEFORE, HALF},
    "after": {WHOLE, BEFORE},
}
"""What the folder of checkpoints holds, by when the process was killed."""
WRITE = 8
"""The checkpoint that is cut short, in the second epoch's midst."""


def train_and_die(moment: str, make: Callable[[Any], dict[str, Any]], config: AnyConfig) -> None:
    """Train until the checkpoint `WRITE` is under way, and die there."""
    save, replace, writes = tensor_files.save_file, Path.replace, 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_save(tensors: Any, path: Path, metadata: Any) -> None:
        nonlocal writes
        writes += path.name == WHOLE
        if writes == WRITE and moment == "before":
            die()
        save(tensors, path, metadata=metadata)
        if writes == WRITE and moment == "half":
            os.truncate(path, path.stat().st_size // 2)
            path.rename(path.with_name(".tmpxmvAqY"))  # safetensors has a draft of its own
            die()

    def dying_replace(path: Path, target: Path) -> None:
        replace(path, target)
        if writes == WRITE and target.name == {"between the renames": BEFORE, "after": WHOLE}.get(moment):
            die()

    tensor_files.save_file, Path.replace = dying_save, dying_replace
    make(config)


def config_of(kind: str, folder: Path, name: str) -> AnyConfig:
    config, _, more = KINDS[kind]
    return build_config(config, {**SMALL, **more, "runs": str(folder), "name": name})


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that were killed, one for each kind and moment."""
    folder = tmp_path_factory.mktemp("killed")
    for kind in KINDS:
        for moment in LEFT:
            config = config_of(kind, folder, f"{kind} {moment}")
            process = Forked(folder / "streams", train_and_die, moment, KINDS[kind][1], config)
            told = process.communicate(timeout=100)
            assert process.returncode == -signal.SIGKILL, (moment, told)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def kind_and_whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A kind of run, and one of it that nobody killed."""
    kind = request.param
    return kind, Path(KINDS[kind][1](config_of(kind, tmp_path_factory.mktemp(kind), "whole"))["folder"])


@pytest.mark.parametrize("moment", LEFT)
def test_killed_as_a_checkpoint_is_written(
    kind_and_whole: tuple[str, Path], moment: str, killed: Path
) -> None:
    kind, whole = kind_and_whole
    run = RunFolder(killed / f"{kind} {moment}")
    names = {path.name for path in run.checkpoints.newest.parent.iterdir()}
    assert {HALF if name.endswith(HALF) else name for name in names} == LEFT[moment]

    KINDS[kind][1](config_of(kind, killed, run.path.name))
    assert_equal(load_file(run.path / "model.safetensors"), load_file(whole / "model.safetensors"))
    assert_equal(tensors(run), tensors(RunFolder(whole)))
    assert learned(run) == learned(RunFolder(whole))
    assert [path.name for path in run.checkpoints.newest.parent.iterdir()] == [WHOLE]


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def tensors(run: RunFolder) -> dict[str, torch.Tensor]:
    """Return the last weights, their average, and the optimiser's buffers."""
    tree = load_tree(run.checkpoints.newest)
    parts = {"method": tree["method"], "average": tree["average"] or {}, **tree["optimizer"]["state"]}
    return {
        f"{part}.{name}": value
        for part, values in parts.items()
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }


def learned(run: RunFolder) -> list[list[Any]]:
    """Return the metrics without times."""
    names = ("epoch", "step", "lr", "train", "validation")
    return [[record.get(name) for name in names] for record in run.read_metrics()]
