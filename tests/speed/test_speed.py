"""`pretask speed`, and a guard against steps that have become slower than they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from command_line import CommandLine
from pretask.config.files import from_flat
from pretask.errors import PretaskError
from pretask.speed.measure import measure_speed
from pretask.training import device

SMALL = {
    "backbone": "resnet8",
    "image_size": 16,
    "batch_size": 32,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
}


def test_the_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        "--backbone",
        "resnet8",
        "--image-size",
        "16",
        "--batch-size",
        "16",
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    out = CommandLine(capsys).well(
        "speed", *flags, "--rounds", "2", "--per-round", "1", "--json", str(tmp_path / "speed.json")
    )
    for expected in (
        "resnet8, batch 16, 16x16x3",
        "of ceiling",
        "plain loop: sla is",
        "torchvision + DataLoader",
        "GB/s",
    ):
        assert expected in out
    found = json.loads((tmp_path / "speed.json").read_text())
    assert [row["method"] for row in found["steps"]] == ["baseline", "sla", "plain loop"]
    baseline, sla, plain = found["steps"]
    assert baseline["cost"]["median"] == 1.0 and sla["passes"] == 4.0
    assert baseline["share_of_ceiling"] > 0 and baseline["bound_seconds"] > 0
    assert plain["compared_with"] == "sla" and found["settings"]["data"] == "made up"


def test_own_data_and_other_methods() -> None:
    asked = from_flat({**SMALL, "data": "digits", "image_size": None})
    found = measure_speed(asked, ("lorot", "baseline"), rounds=1, per_round=1, plain=False, own_data=True)
    assert found["settings"]["data"] == "digits" and found["settings"]["channels"] == 1
    assert [row["method"] for row in found["steps"]] == ["lorot", "baseline"]
    assert found["loaders"] == {}


def test_the_short_timing_decides_once_for_all_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    decisions = iter(
        [{torch.float32: 2.0, torch.bfloat16: 1.0}] + [{torch.float32: 1.0, torch.bfloat16: 1.0}] * 9
    )
    monkeypatch.setattr(device, "_conv_seconds", lambda *_: next(decisions))
    asked = from_flat({**SMALL, "precision": "auto"})
    found = measure_speed(asked, ("baseline", "sla"), rounds=1, per_round=1, plain=False)
    assert [row["precision"] for row in found["steps"]] == ["bf16", "bf16"]


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        (("baseline",), {"rounds": 0}, "time nothing"),
        (("slaa",), {}, "did you mean 'sla'"),
    ],
)
def test_what_cannot_be_timed(methods, options, message: str) -> None:
    with pytest.raises(PretaskError, match=message):
        measure_speed(from_flat(SMALL), methods, **options)


@pytest.mark.slow
def test_costs_are_what_the_arithmetic_says() -> None:
    """Ratios within one run, with room for a machine that does other things: half as much again."""
    found = measure_speed(from_flat({**SMALL, "batch_size": 64}), ("baseline", "gssl", "ssfe", "sla"), 7, 3)
    cost = {row["method"]: row["cost"]["low"] for row in found["steps"]}
    assert cost["gssl"] < 1.5 and cost["ssfe"] < 1.5
    assert cost["sla"] < 1.5 * 4
    plain = found["steps"][-1]
    assert plain["slower_by"]["high"] > 0.8
    assert found["loaders"]["faster_by"]["high"] > 5
    assert found["steps"][0]["wait_share"] < 0.2
