"""Whether and how a step is compiled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pretask.errors import PretaskError
from pretask.methods.base import uncompiled
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


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own
def test_what_is_kept_out_of_compilation_runs_in_every_step_as_it_is() -> None:
    seen: list[bool] = []

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        @uncompiled
        def look(self, x: Tensor) -> Tensor:
            seen.append(torch.compiler.is_compiling())
            return x.detach().sum() + x.detach().max().item()

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            return y * self.look(y) + 1

    network, x = Looking(), torch.ones(2, 3)
    expected = network(x)
    network.compile(backend="eager")
    for _ in range(4):
        torch.testing.assert_close(network(x), expected)
    assert seen == [False] * 5
