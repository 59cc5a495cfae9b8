"""What `predict` returns, and what it leaves as it was."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from pretask.errors import PretaskError
from pretask.evaluation.predictions import predict


def test_filler_rows_are_dropped_and_the_split_order_is_kept(listed_loader, corner):
    images = torch.rand(6, 1, 3, 3)
    labels = torch.tensor([2, -1, 0, 1, 1, -1])
    loader = listed_loader(images, labels, index=torch.tensor([3, 0, 2, 0, 1, 0]))
    found = predict(corner(3), loader)
    rows = [3, 4, 2, 0]
    assert torch.equal(found.logits, images[rows, 0, 0])
    assert found.labels.tolist() == [1, 1, 0, 2]
    assert found.num_classes == 3


def test_every_modules_mode_comes_back_even_after_a_failure(listed_loader, corner):
    classifier = nn.Sequential(corner(3).train(), nn.Identity().eval()).train()
    classifier[1].eval()
    predict(classifier, listed_loader(torch.rand(3, 1, 3, 3), torch.tensor([0, 1, 2])))
    assert [m.training for m in classifier] == [True, False]
    with pytest.raises(IndexError):
        predict(classifier, listed_loader(torch.rand(3), torch.tensor([0, 1, 2])))
    assert classifier.training


def test_each_batch_runs_in_its_precision_and_comes_out_as_float32(listed_loader, corner):
    entered = []

    @contextmanager
    def precision():
        entered.append(torch.is_grad_enabled())
        with torch.autocast("cpu", torch.bfloat16):
            yield

    loader = listed_loader(torch.rand(5, 1, 3, 3).bfloat16(), torch.zeros(5, dtype=torch.long), batch_size=2)
    found = predict(corner(3).bfloat16(), loader, precision=precision)
    assert entered == [False] * 3
    assert found.logits.dtype == torch.float32
    assert not found.logits.requires_grad


def test_logits_that_are_not_finite_are_counted_in_the_error(listed_loader, corner):
    images = torch.rand(5, 1, 3, 3)
    images[1, 0, 0, 2] = torch.nan
    images[4, 0, 0, 0] = torch.inf
    with pytest.raises(PretaskError, match="2 of 5 images"):
        predict(corner(3), listed_loader(images, torch.zeros(5, dtype=torch.long)))


@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_no_images_is_an_error(listed_loader, corner, labels):
    loader = listed_loader(torch.rand(len(labels), 1, 3, 3), torch.tensor(labels, dtype=torch.long))
    with pytest.raises(PretaskError, match="no images"):
        predict(corner(3), loader)


def _predict_a_shard(rank, address, images, labels, out, loader_class, classifier):
    dist.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    index = torch.arange(len(labels)).view(2, -1)[rank]
    found = predict(classifier, loader_class(images[index], labels[index], batch_size=2, index=index))
    torch.save((found.logits, found.labels), out / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_put_their_shards_together(listed_loader, corner, tmp_path):
    images, labels = torch.rand(6, 1, 3, 3), torch.tensor([0, 1, 2, 2, 1, -1])
    arguments = (tmp_path / "address", images, labels, tmp_path, listed_loader, corner(3))
    mp.start_processes(_predict_a_shard, arguments, nprocs=2, start_method="fork")
    for rank in (0, 1):
        logits, found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal(logits, images[:5, 0, 0])
        assert found.tolist() == [0, 1, 2, 2, 1]
