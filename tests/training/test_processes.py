"""Several processes of one run: one that dies, and one that is asked to stop."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_resume import states_equal, without_times
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from forked import Forked
from pretask import configure, load_config, tasks
from pretask.config.files import override, save_config
from pretask.errors import Interrupted
from pretask.training import loop
from pretask.training.checkpoint import load_tree


def train_with_a_signal(config: Path, marker: Path, number: int, at: int) -> None:
    """Train as a rank; the second sends itself a signal at its step `at` unless the marker is there."""
    rank, real, calls = os.environ["RANK"], loop.set_lr, [0]

    def set_lr(*arguments: Any) -> None:
        calls[0] += 1
        if rank == "1" and calls[0] == at and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), number)
        real(*arguments)

    def refuse(*names: object, **_: object) -> None:
        raise AssertionError(f"the first process alone writes; rank {rank} renames {names}")

    loop.set_lr = set_lr
    if rank != "0":
        os.rename = os.replace = refuse
    try:
        tasks.train(load_config(config))
    except Interrupted as stop:
        print(f"rank {rank} {stop}", flush=True)


def launch(max_restarts: int, *arguments: object) -> None:
    """Do as torchrun does with two processes, and fork them; tests/tasks/test_supervised.py types torchrun."""
    # With one store for all attempts, gloo's processes of the second look for those of the first.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"  # which torchrun sets, and accelerate warns of where nobody does
    settings = LaunchConfig(
        1, 1, 2, run_id=str(os.getpid()), rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        rdzv_configs={"timeout": 100}, max_restarts=max_restarts, monitor_interval=0.1, start_method="fork",
    )  # fmt: skip
    elastic_launch(settings, train_with_a_signal)(*arguments)


def two_processes(config: Path, marker: Path, number: int, at: int, max_restarts: int = 0) -> str:
    """Train as two ranks, started again when one dies so many times; return what they printed."""
    folder = config.parent / "streams"
    launched = Forked(folder, launch, max_restarts, config, marker, int(number), at)
    out, errors = launched.communicate(timeout=200)
    assert launched.returncode == 0, errors[-9000:]
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {
        "data": "digits", "per_class": 8, "backbone": "resnet8", "method": "sla", "epochs": 2, "batch_size": 8,
        "threads": 1, "device": "cpu", "runs": str(folder), "name": "whole", "checkpoint_steps": 2,
        "precision": "fp32",
    }  # fmt: skip
    save_config(configure(settings), folder / "whole.yaml")
    (folder / "none").touch()
    two_processes(folder / "whole.yaml", folder / "none", 0, 1)
    return folder


def another(whole: Path, name: str, **more: Any) -> Path:
    """Return the configuration file of a run that differs in its name, and in what else is given."""
    path = whole / f"{name}.yaml"
    save_config(override(load_config(whole / "whole.yaml"), name=name, **more), path)
    return path


@pytest.mark.slow
def test_a_dead_process_is_started_again_and_nothing_is_lost(whole: Path) -> None:
    config, marker = another(whole, "killed"), whole / "was-killed"
    two_processes(config, marker, signal.SIGKILL, 8, max_restarts=1)
    assert marker.exists()
    assert states_equal(whole / "whole", whole / "killed")
    assert without_times(whole / "whole") == without_times(whole / "killed")


@pytest.mark.slow
def test_where_one_process_is_asked_to_stop_all_stop_together(whole: Path) -> None:
    asked = (another(whole, "stopped"), whole / "was-asked", signal.SIGTERM, 7)
    told = two_processes(*asked)
    for rank in (0, 1):
        assert f"rank {rank} stopped after step 7 of 10" in told
    assert load_tree(whole / "stopped/last/state.safetensors")["position"]["step"] == 7
    two_processes(*asked)
    assert states_equal(whole / "whole", whole / "stopped")


@pytest.mark.slow
def test_weights_in_parts_survive_a_dead_process_too(whole: Path) -> None:
    undisturbed, marker = another(whole, "parts", shard_weights=True), whole / "was-killed-in-parts"
    two_processes(undisturbed, whole / "none", 0, 1)
    config = another(whole, "killed-in-parts", shard_weights=True)
    two_processes(config, marker, signal.SIGKILL, 8, max_restarts=1)
    assert marker.exists()
    assert states_equal(whole / "parts", whole / "killed-in-parts")
    copies, parts = (load_file(whole / name / "model.safetensors") for name in ("whole", "parts"))
    torch.testing.assert_close(parts, copies, rtol=1e-3, atol=1e-4)
