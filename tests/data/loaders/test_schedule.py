"""Order, shares of ranks, padding and seeds."""

from __future__ import annotations

import pytest
import torch

from pretask.data.loaders.schedule import Schedule, derived_seed, generator
from pretask.errors import PretaskError


@pytest.mark.parametrize(("n", "batch"), [(100, 8), (64, 32), (7, 100), (9, 4)])
def test_an_epoch_shows_each_image_at_most_once(n, batch):
    schedule = Schedule.train(n, batch, seed=0, rank=0, world_size=1)
    index, padded = schedule.index(epoch=0)
    seen = index.flatten().tolist()
    assert len(set(seen)) == len(seen) == n // min(n, batch) * min(n, batch)
    assert not padded.any()


def test_order_changes_with_seed_and_epoch_only():
    def order(seed, epoch):
        return Schedule.train(50, 5, seed, 0, 1).index(epoch)[0].tolist()

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_global_batch_of_one_rank(world_size):
    alone, _ = Schedule.train(101, 8, 0, 0, 1).index(2)
    ranks = [Schedule.train(101, 8 // world_size, 0, r, world_size).index(2)[0] for r in range(world_size)]
    assert torch.equal(torch.cat(ranks, dim=1), alone)


def test_my_slice_is_this_ranks_part():
    schedules = [Schedule.train(24, 4, 0, rank, 3) for rank in range(3)]
    alone, _ = Schedule.train(24, 12, 0, 0, 1).index(0)
    for schedule in schedules:
        assert torch.equal(schedule.index(0)[0][1], alone[1][schedule.my_slice()])


def test_batch_is_clamped_to_each_ranks_share():
    assert Schedule.train(10, 64, 0, 0, 1).batch_size == 10
    assert Schedule.train(10, 64, 0, 0, 3).batch_size == 3


def test_more_ranks_than_images_is_refused():
    with pytest.raises(PretaskError, match="3 training images cannot be shared by 4 processes"):
        Schedule.train(3, 8, 0, 0, 4)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(("n", "batch"), [(1, 8), (5, 2), (10, 10), (524, 512), (1000, 64), (7, 1)])
def test_evaluation_shows_each_image_once_and_pads_the_end(n, batch, world_size):
    seen = []
    for rank in range(world_size):
        schedule = Schedule.evaluate(n, batch, rank, world_size)
        index, padded = schedule.index(0)
        assert index.shape == (schedule.steps, schedule.batch_size)
        assert schedule.batch_size <= batch
        assert index.max() < n
        seen += index[~padded].tolist()
        assert (index[padded] == n - 1).all()
    assert sorted(seen) == list(range(n))


def test_evaluation_batches_are_equal_with_little_padding():
    schedule = Schedule.evaluate(524, 512, 0, 1)
    assert (schedule.steps, schedule.batch_size) == (2, 262)


def test_global_batches_are_in_order_over_ranks():
    parts = [Schedule.evaluate(12, 2, rank, 2).index(0)[0] for rank in range(2)]
    assert torch.cat(parts, dim=1).flatten().tolist() == list(range(12))


def test_seeds_are_the_same_everywhere_and_far_apart():
    # A changed value would silently change every published run.
    assert derived_seed("order", 0, 1) == 4232644430
    assert len({derived_seed("image", 0, epoch, i) for epoch in range(10) for i in range(100)}) == 1000
    assert derived_seed("a", 1, 11) != derived_seed("a", 11, 1)


def test_generators_leave_the_global_one_alone():
    before = torch.get_rng_state()
    first = torch.rand(3, generator=generator("x", 1))
    assert torch.equal(first, torch.rand(3, generator=generator("x", 1)))
    assert torch.equal(torch.get_rng_state(), before)
