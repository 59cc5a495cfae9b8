"""Copies to the device: in order, all of them, and ahead of time on a GPU."""

from __future__ import annotations

import pytest
import torch

from pretask.data.loaders.streaming import copied_ahead


def test_on_the_cpu_tensors_pass_through_one_by_one() -> None:
    asked = []

    def tensors():
        for i in range(3):
            asked.append(i)
            yield torch.tensor(i)

    copies = copied_ahead(tensors(), torch.device("cpu"))
    assert next(copies).item() == 0 and asked == [0]
    assert [int(copy) for copy in copies] == [1, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("count", [0, 1, 5])
def test_on_a_gpu_each_copy_is_whole_when_it_is_used(count: int) -> None:
    sources = [torch.full((2**20,), i).pin_memory() for i in range(count)]
    sums = [copy.sum() for copy in copied_ahead(iter(sources), torch.device("cuda"))]
    assert [int(total) for total in sums] == [i * 2**20 for i in range(count)]
