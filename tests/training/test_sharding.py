"""Weights that are shared out among ranks: gradients, steps, averages and states are those of one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from rank_cases import CASES, batch, build, rows_of
from torch import nn

from pretask.training.config import RunConfig, SessionConfig
from pretask.training.config_files import build_config
from pretask.training.distributed import share_batch_statistics
from pretask.training.gradient import add_gradient
from pretask.training.profiling import StepProfile
from pretask.training.sharding import gathered, shard_weights
from pretask.training.weights import place_weights
from ranks import check_equal_on_all, one_thread, run_ranks

CPU = torch.device("cpu")
SESSION = SessionConfig(precision="fp32", compile="no", shard_weights=True)


def on_rank(rank: int, world: int, folder: Path) -> None:
    accelerator, profile = Accelerator(cpu=True), StepProfile(0, Path(), CPU)
    for name in CASES:
        images, labels = (part[rows_of(rank, world, name)] for part in batch())
        method = build(name, first=rank * 8 // world)
        share_batch_statistics(method, CPU)
        shard_weights(method, CPU, half=False)
        add_gradient(method, images, labels, 1, SESSION, accelerator, profile)
        held = sum(weight.to_local().numel() for weight in method.parameters())
        gradients = gathered({key: weight.grad for key, weight in method.named_parameters()}, keep=True)
        check_equal_on_all(value for value in gradients.values() if value is not None)
        if rank == 0:
            torch.save({"gradients": gradients, "held": held}, folder / f"{name}.pt")


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    return request.param, run_ranks(on_rank, request.param, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", CASES)
def test_ranks_equal_one_process_over_the_union(ranks: tuple[int, Path], name: str) -> None:
    world, folder = ranks
    method = build(name)
    method(*batch())["loss"].backward()
    saved = torch.load(folder / f"{name}.pt", weights_only=True)
    for key, parameter in method.named_parameters():
        torch.testing.assert_close(saved["gradients"][key], parameter.grad, rtol=1e-9, atol=1e-11, msg=key)
    whole = sum(weight.numel() for weight in method.parameters())
    assert whole / world <= saved["held"] < 1.05 * whole / world


def trained(config: RunConfig, rank: int, world: int) -> dict[str, Any]:
    """Take three steps of sla from a rank's part of the batch, and return the state of all weights."""
    method = build("sla", first=rank * 8 // world)
    accelerator, profile = Accelerator(cpu=True), StepProfile(0, Path(), CPU)
    weights = place_weights(method, config, accelerator)
    images, labels = (part[rows_of(rank, world, "sla")] for part in batch())
    for step in range(3):
        add_gradient(method, images, labels, 1, config.session, accelerator, profile)
        accelerator.clip_grad_norm_(method.parameters(), config.optim.clip_grad_norm)
        weights.optimizer.step()
        weights.optimizer.zero_grad()
        weights.average.update(method, step=step)
    state = weights.state(keep=True)
    with weights.evaluated() as evaluated:
        state["evaluated"] = evaluated.state_dict()
    fresh = place_weights(build("sla"), config, accelerator)
    fresh.load(state)
    state["norms"] = torch.tensor([weights.norm(), fresh.norm()])
    state["again"] = {key: value for key, value in fresh.state(keep=True).items() if key != "norms"}
    return state


def config_of(optimizer: str, **more: Any) -> RunConfig:
    return build_config(
        RunConfig,
        {
            "optimizer": optimizer,
            "ema": 0.9,
            "clip_grad_norm": 0.1,
            "lr": 0.01,
            "precision": "fp32",
            "compile": "no",
            **more,
        },
    )


def train_on_rank(rank: int, world: int, folder: Path) -> None:
    for optimizer in ("sgd", "adamw", "lars"):
        state = trained(config_of(optimizer, shard_weights=True), rank, world)
        if rank == 0:
            torch.save(state, folder / f"{optimizer}.pt")


@pytest.fixture(scope="module")
def two_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_ranks(train_on_rank, 2, tmp_path_factory.mktemp("trained"))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_steps_are_those_of_one_process(two_trained: Path, optimizer: str) -> None:
    """Clipped, by every optimiser, averaged; what is saved is whole, and what is put back is what was saved."""
    found = torch.load(two_trained / f"{optimizer}.pt", weights_only=True)
    expected = trained(config_of(optimizer), 0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def pieces_on_rank(rank: int, world: int, folder: Path) -> None:
    """Batch statistics stand still, or a piece would have its own."""
    images, labels = (part[rows_of(rank, world, "sla")] for part in batch())
    found = []
    for pieces in (1, 2):
        method = build("sla", first=rank * 8 // world)
        for module in method.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        shard_weights(method, CPU, half=False)
        add_gradient(
            method, images, labels, pieces, SESSION, Accelerator(cpu=True), StepProfile(0, Path(), CPU)
        )
        found.append(gathered([weight.grad for weight in method.parameters()], keep=True))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)


def test_pieces_give_the_gradient_of_the_whole(tmp_path: Path) -> None:
    run_ranks(pieces_on_rank, 2, tmp_path)
