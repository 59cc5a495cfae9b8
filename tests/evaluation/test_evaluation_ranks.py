"""Several ranks that share an evaluation come to the figures of one process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from pretask.backbones import create_backbone
from pretask.data import apply_splits, load_data
from pretask.evaluation import EVALUATORS
from pretask.methods import MethodParts, create_method
from ranks import run_ranks

PROTOCOLS = ("accuracy", "knn", "linear", "ridge")
BATCH = 32
ROUNDING = 1e-5
"""Logits of an image differ in their last bits by the size of the batch it is in, which follows from the ranks; what is
averaged over logits or searched by them inherits that. What is counted does not."""


def figures() -> dict[str, Any]:
    """Return the figures of each inference of a network with random weights, under each protocol."""
    torch.manual_seed(3)
    data = apply_splits(load_data("digits"), seed=0, validation=0.1, per_class=30)
    assert len(data.test) % (4 * BATCH), "the last batch has to be padded"
    backbone = create_backbone("resnet8", image_size=(8, 8), in_channels=1)
    method = create_method("sla", MethodParts(backbone, data.class_counts, (0.3,), (0.3,))).eval()
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
    return json.loads(json.dumps(figures()))


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_come_to_the_figures_of_one_process(alone, world: int, tmp_path: Path) -> None:
    run_ranks(on_rank, world, tmp_path)
    of_ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(world)]
    assert all(found == of_ranks[0] for found in of_ranks)
    for name, found in of_ranks[0].items():
        for key in ("top1", "balanced", "n"):
            assert found[key] == alone[name][key], (name, key)
        compare(found, alone[name], name)


def compare(found: Any, alone: Any, where: str) -> None:
    """Check that two trees of figures are equal: whole numbers exactly, others up to rounding."""
    if isinstance(alone, Mapping):
        assert found.keys() == alone.keys(), where
        for key, value in alone.items():
            compare(found[key], value, f"{where} {key}")
    elif isinstance(alone, list):
        assert len(found) == len(alone), where
        for place, value in enumerate(alone):
            compare(found[place], value, f"{where} {place}")
    elif isinstance(alone, float):
        assert found == pytest.approx(alone, abs=ROUNDING), where
    else:
        assert found == alone, where
