"""The typed configuration of training by episodes. Every field is a flag of `pretask few-shot` and a YAML key.

This module imports nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pretask.config.sections import BackboneConfig, DataConfig, Kind, OptimConfig, SessionConfig


@dataclass(frozen=True)
class EpisodesConfig:
    """What an episode is, and how it is answered."""

    head: Literal["prototypes", "ridge"] = "prototypes"
    """the nearest class mean, or ridge regression"""
    pretexts: tuple[str, ...] = ()
    """transformations that make an N-way episode one of N·M ways, as in rotation; none is the plain method"""
    ways: int = 5
    """classes in an episode"""
    shots: int = 1
    """images of each class to learn from"""
    queries: int = 15
    """images of each class to judge by"""
    episodes: int = 100
    """steps in an epoch"""
    test_episodes: int = 600
    """to test on; selection takes a third as many"""


@dataclass(frozen=True)
class EpisodesOptimConfig(OptimConfig):
    """How the network is trained; the batch is an episode, whatever --batch-size says."""

    epochs: int = 60
    """each of --episodes steps"""
    lr: float = 0.05
    """highest learning rate"""


@dataclass(frozen=True)
class FewShotConfig:
    """Everything that determines one training by episodes.

    Attributes:
        kind, words, command, data, backbone, session: as in `RunConfig`.
        episodes: what an episode is, and how it is answered.
        optim: how the network is trained.
    """

    kind: ClassVar[Kind] = "episodes"
    words: ClassVar[str] = "training by episodes"
    command: ClassVar[str] = "few-shot"

    data: DataConfig = field(default_factory=DataConfig)
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    optim: EpisodesOptimConfig = field(default_factory=EpisodesOptimConfig)
    session: SessionConfig = field(default_factory=SessionConfig)


ONLY_HERE = "test_episodes"
"""A key by which a file without a kind is known to configure a training by episodes."""
