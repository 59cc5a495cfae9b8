"""One, two and four ranks on gloo give the gradient of one process over their union, for every objective."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_objectives import images, make
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pretask.pretraining import Objective, TriMixOptions, objective_names
from pretask.pretraining import i_mix as i_mix_module
from pretask.pretraining import trimix as trimix_module
from pretask.pretraining import un_mix as un_mix_module
from pretask.pretraining.mixing import Shares
from pretask.training.distributed import share_batch_statistics
from ranks import check_equal_on_all, one_thread, run_ranks

CASES = [*objective_names(), "trimix:simclr", "trimix:correlation", "un-mix:vicreg"]


def pairs_swapped(batch: torch.Tensor, *_: object, **__: object) -> Shares:
    """Shares that are the same for the union as for its halves: each image is mixed with its neighbour."""
    order = torch.arange(len(batch)).view(-1, 2).flip(1).flatten()
    return Shares(torch.full((len(batch), 1), 0.7, dtype=torch.float64), order)


def build(case: str) -> Objective:
    for module in (trimix_module, i_mix_module, un_mix_module):
        module.draw_shares = pairs_swapped
    name, _, more = case.partition(":")
    if more == "correlation":
        objective = make(name, mix=TriMixOptions(consistency="correlation"))
    else:
        objective = make(name, **({"base": more} if more else {}))
    objective.augment = TwoViews()
    return objective


class TwoViews(nn.Module):
    """The image as it is, then mirrored: views that differ without any draw."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x if self.calls % 2 else x.flip(3)


def on_rank(rank: int, world: int, folder: Path) -> None:
    for case in CASES:
        objective = share_batch_statistics(build(case), torch.device("cpu"))
        model = DistributedDataParallel(objective)
        parts = model(images()[rank * 8 // world : (rank + 1) * 8 // world])
        parts["loss"].backward()
        gradients = {k: p.grad for k, p in objective.named_parameters() if p.grad is not None}
        check_equal_on_all([*gradients.values(), *objective.buffers(), parts["spread"]])
        if rank == 0:
            torch.save({"gradients": gradients, "spread": parts["spread"]}, folder / f"{case}.pt")


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module", params=[1, 2, 4])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_ranks(on_rank, request.param, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(autouse=True)
def original_draws() -> object:
    held = trimix_module.draw_shares
    yield
    for module in (trimix_module, i_mix_module, un_mix_module):
        module.draw_shares = held


@pytest.mark.parametrize("case", CASES)
def test_ranks_equal_one_process_over_the_union(ranks: Path, case: str) -> None:
    objective = build(case)
    parts = objective(images())
    parts["loss"].backward()
    saved = torch.load(ranks / f"{case}.pt", weights_only=True)
    for key, parameter in objective.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(saved["gradients"][key], parameter.grad, rtol=1e-7, atol=1e-9, msg=key)
    torch.testing.assert_close(saved["spread"], parts["spread"])
