"""Facts are measured without running or disturbing the network, and say when its map is of a bad size."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from pretask.backbones.facts import BackboneFacts, output_shapes

FACTS = BackboneFacts(
    name="net",
    num_parameters=272_474,
    stem="3x3 stride 1",
    final_map=(8, 8),
    map_channels=64,
    num_features=64,
    in_channels=3,
    image_size=(32, 32),
    pretrained=False,
)


def test_summary_in_one_line():
    assert FACTS.summary() == (
        "net: 0.27 M parameters, stem 3x3 stride 1, final map 8x8x64 for 32x32x3 input"
    )
    large = dataclasses.replace(FACTS, num_parameters=36_472_784, num_features=128, pretrained=True)
    assert "36.5 M parameters, pretrained," in large.summary()
    assert "8x8x64, 128 features for" in large.summary()


@pytest.mark.parametrize(
    ("final_map", "words"),
    [((4, 4), None), ((14, 14), None), ((3, 8), "smaller than 4x4"), ((8, 15), "larger than 14x14")],
)
def test_warning_outside_4_to_14(final_map, words):
    warning = dataclasses.replace(FACTS, final_map=final_map).warning()
    assert warning is None if words is None else words in warning and "\n" not in warning


def test_measuring_leaves_no_trace():
    network = nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.BatchNorm2d(5), nn.Dropout(0.5))
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    random = torch.get_rng_state()
    assert output_shapes(network, (9, 7), 3) == [(1, 5, 4, 3)]
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_modes_come_back_after_a_fault():
    network = nn.Sequential(nn.Conv2d(3, 5, 3))
    with pytest.raises(RuntimeError):
        output_shapes(network, (1, 1), 3)
    assert network.training
