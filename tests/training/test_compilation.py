"""Whether and how a step is compiled."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pretask.errors import PretaskError
from pretask.training.step import Meter, compile_method, resolve_compile

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [("auto", CPU, "no"), ("auto", CUDA, "yes"), ("yes", CPU, "yes"), ("no", CUDA, "no"), ("graphs", CUDA, "graphs")],
)  # fmt: skip
def test_what_is_left_open_is_decided_by_the_device(asked: str, device: torch.device, expected: str) -> None:
    assert resolve_compile(asked, device) == expected


def test_graphs_need_a_gpu() -> None:
    with pytest.raises(PretaskError, match="this run is on cpu: type --compile yes or no"):
        resolve_compile("graphs", CPU)


def test_how_a_method_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: asked.append(options))
    for how in ("no", "yes", "graphs"):
        compile_method(nn.Linear(1, 1), how)
    assert asked == [{"dynamic": False}, {"dynamic": False, "mode": "reduce-overhead"}]


def test_a_meter_keeps_its_sums_when_a_replay_overwrites_a_step() -> None:
    meter, loss = Meter(), torch.tensor(2.0)
    meter.add({"loss": loss})
    loss.fill_(9.0)
    assert meter.means() == {"loss": 2.0}
