"""Several processes of one run: one that dies, and one that is asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_resume import states_equal, without_times

from pretask import configure, load_config
from pretask.config.files import override, save_config
from pretask.training.checkpoint import load_tree

FAULTY = """
import os, signal, sys
from pathlib import Path
from pretask import errors, load_config, tasks
from pretask.training import loop

config, marker, number, at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
real, calls = loop.set_lr, [0]

def set_lr(*arguments):
    calls[0] += 1
    if os.environ["RANK"] == "1" and calls[0] == at and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), number)
    real(*arguments)

def refuse(*names, **_):
    raise AssertionError(f"the first process alone writes; rank {os.environ['RANK']} renames {names}")

loop.set_lr = set_lr
if os.environ["RANK"] != "0":
    os.rename = os.replace = refuse
try:
    tasks.train(load_config(config))
except errors.Interrupted as stop:
    print(f"rank {os.environ['RANK']} {stop}", flush=True)
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("program") / "faulty.py"
    program.write_text(FAULTY)
    return program


def two_processes(program: Path, config: Path, marker: Path, number: int, at: int, *options: str) -> str:
    """Run the program as two ranks; the second sends itself a signal at its step `at` unless the marker is there."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options,
        program, config, marker, str(int(number)), str(at),
    ]  # fmt: skip
    # With one store for all attempts, gloo's processes of the second look for those of the first.
    env = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr[-9000:]
    return done.stdout


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, faulty: Path) -> Path:
    """A run of two processes that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {
        "data": "digits", "per_class": 8, "backbone": "resnet8", "epochs": 2, "batch_size": 8, "threads": 1,
        "device": "cpu", "runs": str(folder), "name": "whole", "checkpoint_steps": 2,
        "precision": "fp32",
    }  # fmt: skip
    save_config(configure(settings), folder / "whole.yaml")
    (folder / "none").touch()
    two_processes(faulty, folder / "whole.yaml", folder / "none", 0, 1)
    return folder


def another(whole: Path, name: str, **more: Any) -> Path:
    """Return the configuration file of a run that differs in its name, and in what else is given."""
    path = whole / f"{name}.yaml"
    save_config(override(load_config(whole / "whole.yaml"), name=name, **more), path)
    return path


@pytest.mark.slow
def test_a_dead_process_is_started_again_and_nothing_is_lost(whole: Path, faulty: Path) -> None:
    config, marker = another(whole, "killed"), whole / "was-killed"
    two_processes(faulty, config, marker, signal.SIGKILL, 8, "--max-restarts", "1")
    assert marker.exists()
    assert states_equal(whole / "whole", whole / "killed")
    assert without_times(whole / "whole") == without_times(whole / "killed")


@pytest.mark.slow
def test_where_one_process_is_asked_to_stop_all_stop_together(whole: Path, faulty: Path) -> None:
    asked = (faulty, another(whole, "stopped"), whole / "was-asked", signal.SIGTERM, 7)
    told = two_processes(*asked)
    for rank in (0, 1):
        assert f"rank {rank} stopped after step 7 of 10" in told
    assert load_tree(whole / "stopped/last/state.safetensors")["position"]["step"] == 7
    two_processes(*asked)
    assert states_equal(whole / "whole", whole / "stopped")


@pytest.mark.slow
def test_weights_in_parts_survive_a_dead_process_too(whole: Path, faulty: Path) -> None:
    undisturbed, marker = another(whole, "parts", shard_weights=True), whole / "was-killed-in-parts"
    two_processes(faulty, undisturbed, whole / "none", 0, 1)
    config = another(whole, "killed-in-parts", shard_weights=True)
    two_processes(faulty, config, marker, signal.SIGKILL, 8, "--max-restarts", "1")
    assert marker.exists()
    assert states_equal(whole / "parts", whole / "killed-in-parts")
    copies, parts = (load_file(whole / name / "model.safetensors") for name in ("whole", "parts"))
    torch.testing.assert_close(parts, copies, rtol=1e-3, atol=1e-4)
