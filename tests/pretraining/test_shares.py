"""Shares and partners that two ranks draw from different random states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Beta

from pretask.pretraining.mixing import draw_shares
from ranks import one_thread, run_ranks

RANKS, IMAGES, ALPHA = 2, 6, 0.8
Drawn = dict[bool, tuple[Tensor, Tensor]]
"""λ and π, by whether each image has a share of its own."""


def draw(seed: int) -> Drawn:
    drawn = {}
    for per_sample in (False, True):
        torch.manual_seed(seed)
        shares = draw_shares(torch.zeros(IMAGES, 1), ALPHA, per_sample)
        drawn[per_sample] = (shares.share, shares.order)
    return drawn


def on_rank(rank: int, world: int, folder: Path) -> None:
    torch.save(draw(seed=rank), folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Drawn]:
    with one_thread():
        folder = run_ranks(on_rank, RANKS, tmp_path_factory.mktemp("ranks"))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


def test_one_share_for_the_batch_is_one_for_all_ranks(ranks: list[Drawn]) -> None:
    assert torch.cat([drawn[False][0] for drawn in ranks]).unique().numel() == 1


def test_shares_of_images_differ_on_all_ranks(ranks: list[Drawn]) -> None:
    assert torch.cat([drawn[True][0] for drawn in ranks]).unique().numel() == RANKS * IMAGES


@pytest.mark.parametrize("per_sample", [False, True])
def test_partners_are_drawn_by_each_rank_among_its_own_images(ranks: list[Drawn], per_sample: bool) -> None:
    orders = [drawn[per_sample][1] for drawn in ranks]
    assert all(sorted(order.tolist()) == list(range(IMAGES)) for order in orders)
    assert not torch.equal(*orders)


def test_ranks_draw_what_they_would_alone_but_for_the_share_of_the_batch(ranks: list[Drawn]) -> None:
    """So random states are the same afterwards, with however many ranks."""
    for rank, drawn in enumerate(ranks):
        alone = draw(seed=rank)
        assert torch.equal(drawn[False][1], alone[False][1])
        assert all(map(torch.equal, drawn[True], alone[True]))
    assert torch.equal(ranks[1][False][0], draw(seed=0)[False][0])


@pytest.mark.parametrize("per_sample", [False, True])
def test_one_process_draws_the_shares_then_the_permutation(per_sample: bool) -> None:
    share, order = draw(seed=3)[per_sample]
    torch.manual_seed(3)
    drawn = Beta(torch.tensor(ALPHA), torch.tensor(ALPHA)).sample((IMAGES if per_sample else 1,))
    assert torch.equal(share[:, 0], torch.maximum(drawn, 1 - drawn).expand(IMAGES))
    assert torch.equal(order, torch.randperm(IMAGES))
