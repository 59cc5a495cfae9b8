"""Orders that read few blocks at a time."""

from __future__ import annotations

import pytest
import torch

from pretask.data.images.stores import Blocks
from pretask.data.loaders.schedule import Schedule, generator


def blocks(count=24, size=10, at_once=6):
    return Blocks(torch.arange(count).repeat_interleave(size), at_once)


def order(batch=12, world_size=1, rank=0, epoch=0, seed=0, **options):
    given = blocks(**options)
    return Schedule.train(len(given.of), batch, seed, rank, world_size, given).index(epoch)[0]


@pytest.mark.parametrize("batch", [12, 7, 4, 1, 240, 1000])
@pytest.mark.parametrize("at_once", [1, 6, 100])
def test_every_image_is_shown_at_most_once(batch, at_once):
    index = order(batch, at_once=at_once)
    assert index.shape == (240 // min(batch, 240), min(batch, 240))
    assert len(index.unique()) == index.numel()


@pytest.mark.parametrize("at_once", [1, 3, 6])
def test_no_more_blocks_are_needed_at_a_time_than_asked(at_once):
    """Between its first and its last image a block is open; while one passes to the next both are."""
    index = order(at_once=at_once)
    steps = torch.arange(len(index)).repeat_interleave(index.shape[1])
    of = index.flatten() // 10
    spans = [steps[of == block] for block in range(24)]
    open_at = [
        sum(int(span.min()) <= step <= int(span.max()) for span in spans) for step in range(len(index))
    ]
    assert max(open_at) <= 2 * at_once
    assert sum(open_at) / len(open_at) <= 1.5 * at_once + 1


def test_every_batch_is_mixed_from_as_many_blocks_as_are_open():
    assert all(len((row // 10).unique()) >= 6 for row in order())


def test_images_within_a_block_are_shuffled_and_so_are_the_blocks():
    index = order(at_once=1, batch=10).tolist()
    assert all(row != sorted(row) for row in index)
    firsts = [row[0] // 10 for row in index]
    assert firsts != sorted(firsts)


def test_the_order_depends_on_seed_and_epoch_alone():
    assert torch.equal(order(epoch=2), order(epoch=2))
    assert not torch.equal(order(epoch=2), order(epoch=3))
    assert not torch.equal(order(epoch=2), order(epoch=2, seed=1))


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_share_the_batch_of_one_rank_and_each_reads_its_own_blocks(world_size):
    alone = order(12, at_once=12)
    ranks = [order(12 // world_size, world_size, rank, at_once=12) for rank in range(world_size)]
    assert torch.equal(torch.cat(ranks, dim=1), alone)
    read = [set((index // 10).unique().tolist()) for index in ranks]
    assert set.union(*read) == set(range(24))
    assert sum(map(len, read)) == 24  # two blocks in each lane, none of them cut


def test_a_subset_keeps_its_blocks():
    chosen = torch.tensor([35, 5, 31, 200])
    part = blocks().subset(chosen)
    assert (part.of.tolist(), part.at_once) == ([3, 0, 3, 20], 6)
    shuffled = part.shuffled(1, 4, generator("x"))
    assert sorted(shuffled.flatten().tolist()) == [0, 1, 2, 3]


def test_blocks_of_many_sizes_lose_nothing():
    sizes = torch.tensor([1, 40, 3, 0, 17, 9])
    given = Blocks(torch.arange(6).repeat_interleave(sizes), 4)
    shuffled = given.shuffled(7, 10, generator("x"))
    assert sorted(shuffled.flatten().tolist()) == list(range(70))
