"""`pretask speed`, and a guard against steps that have become slower than they should be."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from command_line import CommandLine, flags
from pretask.cli.main import main
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


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What the command prints, and writes as JSON."""
    written = tmp_path_factory.mktemp("speed") / "speed.json"
    asked = {
        **SMALL,
        "batch_size": 64,
        "methods": ("baseline", "gssl", "ssfe", "sla"),
        "rounds": 7,
        "per_round": 3,
    }
    with (
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as errors,
        pytest.raises(SystemExit) as leaving,
    ):
        main(["speed", *flags({**asked, "json": written})])
    assert (leaving.value.code, errors.getvalue()) == (0, "")
    return out.getvalue(), json.loads(written.read_text())


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json(measured: tuple[str, dict[str, Any]]) -> None:
    out, found = measured
    for expected in (
        "resnet8, batch 64, 16x16x3",
        "of ceiling",
        "plain loop: sla is",
        "torchvision + DataLoader",
        "GB/s",
    ):
        assert expected in out
    assert [row["method"] for row in found["steps"]] == ["baseline", "gssl", "ssfe", "sla", "plain loop"]
    baseline, *_, sla, plain = found["steps"]
    assert baseline["cost"]["median"] == 1.0 and sla["passes"] == 4.0
    assert baseline["share_of_ceiling"] > 0 and baseline["bound_seconds"] > 0
    assert plain["compared_with"] == "sla" and found["settings"]["data"] == "made up"


def test_joint_labels_are_compared_with_none_where_nothing_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {**SMALL, "rounds": 1, "per_round": 1, "plain": False, "json": tmp_path / "speed.json"}
    CommandLine(capsys).well("speed", *flags(given))
    found = json.loads((tmp_path / "speed.json").read_text())
    assert [row["method"] for row in found["steps"]] == ["baseline", "sla"]


def test_own_data_and_other_methods() -> None:
    asked = from_flat({**SMALL, "data": "digits", "image_size": None})
    found = measure_speed(asked, ("lorot", "baseline"), rounds=1, per_round=1, plain=False, own_data=True)
    assert found["settings"]["data"] == "digits" and found["settings"]["channels"] == 1
    assert [row["method"] for row in found["steps"]] == ["lorot", "baseline"]
    assert found["loaders"] == {}


def test_what_the_cpu_can_do_decides_for_all_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cpu_has", lambda feature: True)
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
def test_costs_are_what_the_arithmetic_says(measured: tuple[str, dict[str, Any]]) -> None:
    """Ratios within one run, with room for a machine that does other things: half as much again."""
    _, found = measured
    cost = {row["method"]: row["cost"]["low"] for row in found["steps"]}
    assert cost["gssl"] < 1.5 and cost["ssfe"] < 1.5
    assert cost["sla"] < 1.5 * 4
    plain = found["steps"][-1]
    assert plain["slower_by"]["high"] > 0.8
    assert found["loaders"]["faster_by"]["high"] > 5
    assert found["steps"][0]["wait_share"] < 0.2
