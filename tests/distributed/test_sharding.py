"""Weights that are shared out among ranks: gradients, steps, averages and states are those of one process."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from rank_cases import CASES, batch, build, rows_of
from torch import nn

from pretask.backbones import create_backbone
from pretask.config.files import build_config, override
from pretask.config.sections import PretrainConfig, RunConfig, SessionConfig
from pretask.distributed.processes import share_batch_statistics
from pretask.distributed.sharding import blocks, gathered, shard_weights
from pretask.errors import PretaskError
from pretask.methods import Method, MethodParts, create_method
from pretask.speed.steps import made_up_data
from pretask.tasks import Pretraining, Supervised, train
from pretask.training.profiling import StepProfile
from pretask.training.step import add_gradient
from pretask.training.weights import check_sharding, place_weights
from ranks import check_equal_on_all, one_thread, run_ranks

CPU = torch.device("cpu")
SESSION = SessionConfig(precision="fp32", compile="no", shard_weights=True)


def on_rank(rank: int, world: int, folder: Path) -> None:
    accelerator, profile = Accelerator(cpu=True), StepProfile(0, Path(), CPU)
    for name in CASES:
        images, labels = (part[rows_of(rank, world, name)] for part in batch())
        method = build(name, first=rank * 8 // world)
        share_batch_statistics(method, CPU)
        shard_weights(method, method.backbone, CPU)
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
    weights = place_weights(method, config.optim, config.session, accelerator)
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
    fresh = place_weights(build("sla"), config.optim, config.session, accelerator)
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
            "weight_decay": 5e-4,
            "layer_decay": 1,
            "head_epochs": 0,
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


def own_statistics_on_rank(rank: int, world: int, folder: Path) -> None:
    config = config_of("sgd", shard_weights=True, sync_batch_norm=False)
    weights = place_weights(
        build("baseline", first=rank * 4), config.optim, config.session, Accelerator(cpu=True)
    )
    images, labels = (part[rows_of(rank, world, "baseline")] for part in batch())
    weights.method(images, labels)["loss"].backward()
    weights.average.update(weights.method)
    with weights.evaluated() as evaluated:
        check_equal_on_all(value for value in evaluated.state_dict().values())
    own = torch.stack([buffer.mean() for buffer in weights.method.buffers() if buffer.is_floating_point()])
    torch.save(own, folder / f"{rank}.pt")


def test_all_ranks_evaluate_with_the_statistics_of_the_first(tmp_path: Path) -> None:
    folder = run_ranks(own_statistics_on_rank, 2, tmp_path)
    first, second = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    assert not torch.equal(first, second), "each had its own"


def pieces_on_rank(rank: int, world: int, folder: Path) -> None:
    """Batch statistics stand still, or a piece would have its own."""
    images, labels = (part[rows_of(rank, world, "sla")] for part in batch())
    found = []
    for pieces in (1, 2):
        method = build("sla", first=rank * 8 // world)
        for module in method.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        shard_weights(method, method.backbone, CPU)
        add_gradient(
            method, images, labels, pieces, SESSION, Accelerator(cpu=True), StepProfile(0, Path(), CPU)
        )
        found.append(gathered([weight.grad for weight in method.parameters()], keep=True))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)


def test_pieces_give_the_gradient_of_the_whole(tmp_path: Path) -> None:
    run_ranks(pieces_on_rank, 2, tmp_path)


TIMM = ("test_vit", "test_convnext", "test_efficientnet", "test_nfnet")


def timm_method(name: str) -> Method:
    torch.manual_seed(0)
    backbone = create_backbone(name, image_size=(32, 32))
    return create_method("baseline", MethodParts(backbone, torch.ones(3), (0.3,) * 3, (0.2,) * 3))


def timm_on_rank(rank: int, world: int, folder: Path) -> None:
    for name in TIMM:
        whole = timm_method(name).double().eval()
        parts = copy.deepcopy(whole)
        shard_weights(parts, parts.backbone, CPU)
        images = torch.rand(2, 3, 32, 32, dtype=torch.float64)  # the same on both ranks
        for method in (whole, parts):
            method(images, torch.tensor([0, 2]))["loss"].backward()
        for method in (whole, parts):
            torch.optim.SGD(method.parameters(), lr=0.1).step()
        torch.testing.assert_close(gathered(parts.state_dict(), keep=True), whole.state_dict(), msg=name)


def test_networks_of_timm_are_stepped_as_whole_ones(tmp_path: Path) -> None:
    run_ranks(timm_on_rank, 2, tmp_path)


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("resnet20", 9, "blocks.0"),
        ("test_vit", 6, "net.blocks.0"),
        ("test_convnext", 12, "net.stages.0.blocks.0"),
        ("regnetx_002", 11, "net.s3.b1"),  # items of a module of its own kind
    ],
)
def test_blocks_are_what_a_network_repeats(name: str, count: int, first: str) -> None:
    network = create_backbone(name, image_size=(64, 64))
    names = {module: name for name, module in network.named_modules()}
    found = [names[block] for block in blocks(network)]
    assert (len(found), found[0]) == (count, first), found


REFUSED = [
    ({}, 1, "there is one process: start several with torchrun"),
    ({"compile": "yes"}, 2, "drop --compile yes"),
    ({"adversarial": "fgsm"}, 2, "drop --adversarial fgsm"),
]


@pytest.mark.parametrize(("more", "processes", "message"), REFUSED)
def test_what_weights_in_parts_cannot_do_is_refused(
    more: dict[str, str], processes: int, message: str
) -> None:
    task = Supervised(config_of("sgd", **{"shard_weights": True, **more}), made_up_data(8, 2, 3, 8))
    method = build("baseline")
    with pytest.raises(PretaskError, match=f"--shard-weights is not possible here: .*{message}"):
        check_sharding(task.config.session, method, processes, task.unshardable(method))


def test_a_moving_average_as_target_is_refused() -> None:
    config = build_config(PretrainConfig, {"method": "byol", "strength": "small", "backbone": "resnet8"})
    for target, refused in {"average": True, "online": False}.items():
        task = Pretraining(override(config, target=target), made_up_data(8, 2, 3, 8))
        objective = task.build()
        with pytest.raises(PretaskError, match="type --target online") if refused else nullcontext():
            check_sharding(SESSION, objective, 2, task.unshardable(objective))


def test_a_network_with_a_single_number_is_refused() -> None:
    method = build("baseline")
    method.encoder.backbone.gain = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(PretaskError, match=r"encoder\.backbone\.gain is a single number"):
        check_sharding(SESSION, method, 2)


def test_refused_sharding_leaves_the_name_free(configure, tmp_path: Path) -> None:
    with pytest.raises(PretaskError, match="start several with torchrun"):
        train(configure(name="alone", shard_weights=True))
    assert not (tmp_path / "alone/config.yaml").exists(), "the name is free"
