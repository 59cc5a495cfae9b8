"""One, two and four ranks on gloo give the gradient of one process over their union, for every method."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rank_cases import CASES, batch, build, rows_of
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pretask.distributed.processes import share_batch_statistics
from ranks import check_equal_on_all, one_thread, run_ranks


def on_rank(rank: int, world: int, folder: Path) -> None:
    for name in CASES:
        images, labels = (part[rows_of(rank, world, name)] for part in batch())
        method = build(name, first=rank * 8 // world)
        share_batch_statistics(method, torch.device("cpu"))
        model = DistributedDataParallel(method)
        model(images, labels)["loss"].backward()
        saved = {
            "gradients": {k: p.grad for k, p in method.named_parameters()},
            "buffers": dict(method.named_buffers()),
        }
        check_equal_on_all(value for part in saved.values() for value in part.values() if value is not None)
        if rank == 0:
            torch.save(saved, folder / f"{name}.pt")


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module", params=[1, 2, 4])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_ranks(on_rank, request.param, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", CASES)
def test_ranks_equal_one_process_over_the_union(ranks: Path, name: str) -> None:
    method = build(name)
    method(*batch())["loss"].backward()
    saved = torch.load(ranks / f"{name}.pt", weights_only=True)
    for key, parameter in method.named_parameters():
        torch.testing.assert_close(saved["gradients"][key], parameter.grad, rtol=1e-9, atol=1e-11, msg=key)
    for key, buffer in method.named_buffers():
        torch.testing.assert_close(saved["buffers"][key], buffer, rtol=1e-6, atol=1e-8, msg=key)


def test_without_shared_statistics_the_gradient_differs() -> None:
    """The check above can fail: separate batch statistics give another gradient."""
    union, halves = build("baseline"), build("baseline")
    images, labels = batch()
    union(images, labels)["loss"].backward()
    for part in (slice(0, 4), slice(4, 8)):
        (halves(images[part], labels[part])["loss"] / 2).backward()
    differences = [
        (a.grad - b.grad).abs().max().item()
        for a, b in zip(union.parameters(), halves.parameters(), strict=True)
    ]
    assert max(differences) > 1e-3


def test_conversion_keeps_names_weights_and_evaluation() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    network(torch.rand(3, 1, 6, 6))
    before = copy.deepcopy(network).eval()
    after = share_batch_statistics(network, torch.device("cpu")).eval()
    assert list(after.state_dict()) == list(before.state_dict())
    x = torch.rand(2, 1, 6, 6)
    assert torch.equal(after(x), before(x))


def test_conversion_keeps_frozen_weights_frozen() -> None:
    """A weight that gets no gradient but asks for one would keep the ranks from averaging its neighbours'."""
    network = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False)
    ).requires_grad_(False)
    assert not any(p.requires_grad for p in share_batch_statistics(network, torch.device("cpu")).parameters())


def low_precision_on_rank(rank: int, world: int, folder: Path) -> None:
    torch.manual_seed(0)
    x = (torch.randn(8, 4, 6, 6) / 10 + 3).bfloat16()
    whole, shared = (
        nn.BatchNorm2d(4),
        share_batch_statistics(nn.Sequential(nn.BatchNorm2d(4)), torch.device("cpu")),
    )
    expected = whole(x)
    found = shared(x[rank * 8 // world : (rank + 1) * 8 // world])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found, expected[rank * 8 // world : (rank + 1) * 8 // world], rtol=0.02, atol=0.02
    )
    torch.testing.assert_close(shared[0].running_mean, whole.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(shared[0].running_var, whole.running_var, rtol=1e-5, atol=1e-6)


def test_shared_statistics_of_low_precision_have_all_digits(tmp_path: Path) -> None:
    run_ranks(low_precision_on_rank, 2, tmp_path)
