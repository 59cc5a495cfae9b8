"""Several ranks that share an evaluation come to the figures of one process."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pretask.backbones import create_backbone
from pretask.data import apply_splits, load_data
from pretask.data.images.containers import ArrayImages, LabelledImages
from pretask.evaluation import EVALUATORS
from pretask.evaluation.predictions import embed, split_loader
from pretask.methods import MethodParts, create_method
from ranks import one_thread, run_ranks

PROTOCOLS = ("accuracy", "knn", "linear", "ridge")
BATCH = 32


def figures() -> dict[str, Any]:
    """Return the figures of each inference of a network with random weights, under each protocol.

    The last bits of an answer may follow the size of the batch, which follows the number of ranks. The network computes
    in double precision and its answers are rounded to single, so the figures from them can be compared exactly.
    In single precision loss, ECE and what a probe searches for may differ in their last bits on some processors.
    """
    torch.manual_seed(3)
    data = apply_splits(load_data("digits"), seed=0, validation=0.1, per_class=30)
    assert len(data.test) % (4 * BATCH), "the last batch has to be padded"
    backbone = create_backbone("resnet8", image_size=(8, 8), in_channels=1)
    method = create_method("sla", MethodParts(backbone, data.class_counts, (0.3,), (0.3,))).double().eval()
    found = {}
    for inference in method.inferences:
        for name in PROTOCOLS:
            evaluator = EVALUATORS.get(name)("test", batch_size=BATCH)
            found[f"{inference} {name}"] = evaluator(method.classifier(inference), data)
    return found


def on_rank(rank: int, world: int, folder: Path) -> None:
    (folder / f"{rank}.json").write_text(json.dumps(figures()))


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    with one_thread():
        return json.loads(json.dumps(figures()))


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_come_to_the_figures_of_one_process(alone, world: int, tmp_path: Path) -> None:
    run_ranks(on_rank, world, tmp_path)
    of_ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(world)]
    for found in of_ranks:
        assert found == alone


def test_rows_that_only_pad_are_dropped_and_the_order_is_that_of_the_split(tmp_path: Path) -> None:
    run_ranks(gather_numbers, 4, tmp_path)
    for rank in range(4):
        features, labels = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal((features * 255).round().flatten().long(), torch.arange(101))
        assert torch.equal(labels, torch.arange(101) % 3)


def gather_numbers(rank: int, world: int, folder: Path) -> None:
    """Keep what comes back of 101 images, each all of its number, whose network answers a pixel."""
    pixels = torch.arange(101, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    split = LabelledImages(ArrayImages(pixels), torch.arange(101) % 3)
    network = Pixel()
    with closing(split_loader(network, split, image_size=(4, 4), batch_size=7, device="cpu")) as loader:
        assert len(loader) * loader.batch_size * world > 101, "some rows only pad"
        torch.save(embed(network, loader), folder / f"{rank}.pt")


class Pixel(nn.Module):
    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, :1]
