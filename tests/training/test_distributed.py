"""One, two and four ranks on gloo give the gradient of one process over their union, for every method."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pretask.backbones import create_backbone
from pretask.losses import LOSSES, create_loss
from pretask.methods import GATES, METHODS, GateOptions, Method, MethodParts, create_method
from pretask.methods.auxiliary import AuxiliaryTasks
from pretask.methods.distilled import DistilledJointLabels
from pretask.methods.dropout import FeatureDropout
from pretask.methods.fixmatch import FixMatch
from pretask.methods.multi_view import MultiViewMethod
from pretask.training.distributed import share_batch_statistics
from ranks import check_equal_on_all, one_thread, run_ranks

CASES = [
    *METHODS.names(), "fixmatch+sla-sd", *(f"gssl:{gate}" for gate in GATES),
    *(f"baseline:{loss}" for loss in LOSSES.names()),
]  # fmt: skip


def build(case: str, first: int = 0) -> Method:
    """Make a method, its draws by an image's place in the batch, which begins at image `first`."""
    name, _, more = case.partition(":")
    torch.manual_seed(0)
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=(8, 8)),
        class_counts=torch.tensor([9, 5, 2]),
        mean=(0.3,) * 3,
        std=(0.2,) * 3,
        gate=GateOptions(more if name == "gssl" and more else "learned", (1.0, 2.0, 3.0)),
        make_loss=create_loss(more if more in LOSSES.names() else "cross_entropy"),
        unlabelled_ratio=1,
        pseudo_threshold=0.0,
        align_guesses=True,
    )
    method = create_method(name, parts).double()
    if isinstance(method, FixMatch):
        method.strong = nn.Identity()
    if isinstance(method, AuxiliaryTasks):
        method.embed_changed = lambda images: (
            method.encoder(images),
            [(torch.arange(len(images)) + first) * 5 % task.num_labels for task in method.pretexts],
        )
    elif isinstance(method, DistilledJointLabels) and method.drawn is not None:
        others = (torch.arange(9) + first) * 5 % (method.encoder.num_labels - 1) + 1
        pairs = torch.stack((torch.zeros_like(others), others), 1)  # the plain view and another
        method.encoder.drawn_views = lambda images, count, with_first: (
            method.encoder.transform(images.repeat_interleave(2, dim=0), pairs[: len(images)].flatten()),
            pairs[: len(images)].flatten(),
        )
    elif isinstance(method, MultiViewMethod) and method.drawn is not None:
        labels = [(torch.arange(n) + first) * 5 % method.encoder.num_labels for n in range(9)]
        method.embed_views = lambda images: (
            method.encoder.transform(images, labels[len(images)]),
            labels[len(images)],
        )
    elif isinstance(method, FeatureDropout):
        method.rate = 0.0
    return method


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(8, 3, 8, 8, generator=generator, dtype=torch.float64), torch.arange(8) % 3


def rows_of(rank: int, world: int, name: str) -> list[int]:
    """Return a rank's images: a part, or for FixMatch parts of the labelled and of the unlabelled ones."""
    if name.startswith("fixmatch"):
        mine = range(rank * 4 // world, (rank + 1) * 4 // world)
        return [*mine, *(4 + place for place in mine)]
    return list(range(rank * 8 // world, (rank + 1) * 8 // world))


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
