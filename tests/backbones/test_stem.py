"""The stem rule: which image sizes get which stem, and what the rule promises about the final map."""

from __future__ import annotations

import pytest
import torch

from pretask.backbones.stem import stem_convolution, stem_for, stem_pool


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "pool", "last_stage"),
    [
        (8, 3, 1, False, 1),
        (12, 3, 1, False, 1),
        (13, 3, 1, False, 2),
        (40, 3, 1, False, 2),
        (41, 3, 2, False, 2),
        (112, 3, 2, False, 2),
        (113, 7, 2, True, 2),
        (224, 7, 2, True, 2),
    ],
)
def test_rule_at_its_borders(side, kernel, stride, pool, last_stage):
    stem = stem_for((side, side))
    assert (stem.kernel, stem.stride, stem.pool, stem.stages[2]) == (kernel, stride, pool, last_stage)


def test_longer_side_decides():
    assert stem_for((20, 64)) == stem_for((64, 20)) == stem_for((64, 64))


@pytest.mark.parametrize("side", [*range(8, 225, 3), 28, 32, 64, 96, 105, 128, 224])
def test_three_stages_end_between_4_and_14(side):
    stem = stem_for((side, side))
    features = stem_pool(stem)(stem_convolution(stem, 1, 1)(torch.zeros(1, 1, side, side)))
    height = features.shape[-1]
    for stride in stem.stages:
        height = -(-height // stride)
    assert 4 <= height <= 14


def test_words():
    assert stem_for((32, 32)).words == "3x3 stride 1"
    assert stem_for((224, 224)).words == "7x7 stride 2 + pool stride 2"
