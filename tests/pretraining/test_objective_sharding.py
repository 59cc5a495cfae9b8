"""Objectives whose weights are shared out among two ranks have the gradient of one process over their union."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_objectives import images, make
from test_objective_ranks import Kept, TwoViews, shares_by

from pretask.distributed.processes import share_batch_statistics
from pretask.distributed.sharding import gathered, shard_weights
from pretask.pretraining import Objective
from pretask.pretraining.mixing import Shares
from ranks import one_thread, run_ranks

CASES = ("simclr", "simsiam", "barlow", "vicreg", "trimix", "un-mix")
CPU = torch.device("cpu")


def build(name: str) -> Objective:
    objective = make(name, base="simclr" if "mix" in name else name, target="online")
    objective.augment = TwoViews()
    return objective


def on_rank(rank: int, world: int, folder: Path) -> None:
    saved = {}
    for name in CASES:
        objective = share_batch_statistics(build(name), CPU)
        shard_weights(objective, objective.backbone, CPU)
        kept = Kept()
        torch.manual_seed(100 + rank)
        with shares_by(kept):
            objective(images()[rank * 8 // world : (rank + 1) * 8 // world])["loss"].backward()
        gradients = gathered({key: weight.grad for key, weight in objective.named_parameters()}, keep=True)
        saved[name] = gradients, kept.of_all_ranks()
    if rank == 0:
        torch.save(saved, folder / "saved.pt")


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return torch.load(run_ranks(on_rank, 2, tmp_path_factory.mktemp("ranks")) / "saved.pt", weights_only=True)


@pytest.mark.parametrize("name", CASES)
def test_ranks_equal_one_process_over_the_union(saved: dict, name: str) -> None:
    gradients, drawn = saved[name]
    objective, draws = build(name), iter(drawn)
    with shares_by(lambda *_, **__: Shares(*next(draws))):
        objective(images())["loss"].backward()
    expected = {key: weight.grad for key, weight in objective.named_parameters()}
    torch.testing.assert_close(gradients, expected, rtol=1e-7, atol=1e-9)
