"""Batch norm in trainings of few steps."""

from __future__ import annotations

import pytest
from torch import nn

from pretask.training.loop import follow_sooner


@pytest.mark.parametrize(
    ("steps", "momentum"),
    [(36, 10 / 36), (100, 0.1), (10_000, 0.1), (5, 0.5)],
    ids=lambda value: f"{value:g}",
)
def test_running_statistics_follow_within_a_tenth_of_a_short_training(steps, momentum):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=None))
    follow_sooner(network, steps)
    assert network[1].momentum == pytest.approx(momentum)
    assert network[2].momentum is None


def test_a_network_that_follows_sooner_by_itself_is_left_alone():
    network = nn.BatchNorm1d(4, momentum=0.9)
    follow_sooner(network, 50)
    assert network.momentum == 0.9
