"""A profile of the first steps of a training."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pretask import train
from pretask.config.files import from_flat
from pretask.training.profiling import PHASES, StepProfile

SMALL = {
    "data": "digits", "per_class": 5, "backbone": "resnet8", "epochs": 2, "batch_size": 25, "threads": 1,
    "device": "cpu", "method": "baseline", "precision": "fp32", "name": "run",
}  # fmt: skip


def test_a_run_leaves_a_trace_and_a_table_and_the_same_weights(tmp_path: Path) -> None:
    plain = train(from_flat({**SMALL, "runs": str(tmp_path / "plain")}))
    profiled = train(from_flat({**SMALL, "runs": str(tmp_path / "profiled"), "profile": 3}))
    folder = Path(profiled["folder"]) / "profile"
    table = (folder / "table.txt").read_text()
    assert table.startswith("3 steps; ") and all(name in table for name in PHASES) and "convolution" in table
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    assert (
        sum(event.get("name") == "backward" and event.get("cat") == "user_annotation" for event in events)
        == 3
    )
    assert not (Path(plain["folder"]) / "profile").exists()
    weights = [(Path(run["folder"]) / "model.safetensors").read_bytes() for run in (plain, profiled)]
    assert weights[0] == weights[1]


def test_a_training_that_ends_before_writes_what_there_is(tmp_path: Path) -> None:
    with StepProfile(5, tmp_path, torch.device("cpu")) as profile:
        assert list(profile.batches([])) == []
        with profile.phase("forward"):
            torch.ones(3).sum()
        profile.step()
    assert (tmp_path / "profile" / "table.txt").read_text().startswith("1 steps; ")


def test_no_steps_cost_nothing(tmp_path: Path) -> None:
    with StepProfile(0, tmp_path, torch.device("cpu")) as profile, profile.phase("forward"):
        profile.step()
    assert not list(tmp_path.iterdir())
