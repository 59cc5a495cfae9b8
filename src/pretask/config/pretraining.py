"""The typed configuration of a pre-training. Every field is a flag of `pretask pretrain` and a key of a YAML file.

This module imports nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pretask.config.sections import BackboneConfig, DataConfig, Kind, OptimConfig, SessionConfig


@dataclass(frozen=True)
class PretrainingConfig:
    """What is learned from images without labels."""

    method: str = "trimix"
    """trimix, i-mix, un-mix, or a base alone: byol, simsiam, simclr, barlow, vicreg (pretask list pretraining)"""
    base: str = "auto"
    """how two views are drawn together, where the method mixes; auto is simclr, and byol for i-mix"""
    strength: str = "auto"
    """how much views differ: small, photo, medical, upright; auto follows size, colours and whether images mirror"""
    hidden_size: int = 1024
    """width of the heads' hidden layers"""
    embedding_size: int = 128
    """width of what the heads put out"""
    target: Literal["auto", "average", "online"] = "auto"
    """where targets come from: a moving average of the network, or the network itself; auto is as published"""
    target_momentum: float = 0.99
    """of the moving average at the beginning; it rises to 1 along a cosine"""
    predictor: bool = True
    """the predictor of byol and simsiam, which collapse without it"""
    stop_gradient: bool = True
    """targets without gradient; off is for experiments on collapse"""
    temperature: float = 0.5
    """of simclr"""
    mixed: Literal["images", "views", "latent"] = "images"
    """what trimix mixes: different images, the two views of each, or features of different images"""
    mix_alpha: float = 1.0
    """of the Beta distribution of the shares"""
    mix_per_sample: bool = False
    """draw a share for each image instead of one for the batch"""
    extraction: Literal["weighted", "unmixed"] = "weighted"
    """of the originals from a mixture: drawn to both by their shares, or taken apart by a head"""
    consistency: Literal["squared", "cosine", "correlation"] = "squared"
    """how the embedding of a mixture is compared with the mixture of embeddings"""
    base_weight: float = 1.0
    """of the base's loss in trimix"""
    extraction_weight: float = 1.0
    """of the extraction in trimix"""
    consistency_weight: float = 1.0
    """of the self-consistency in trimix"""


@dataclass(frozen=True)
class PretrainOptimConfig(OptimConfig):
    """How the network is pre-trained: stand-in settings, longer and with larger batches than with labels."""

    epochs: int = 200
    """passes over the training images"""
    batch_size: int = 256
    """images in a step, on each process"""
    lr: float = 0.06
    """highest learning rate"""
    warmup_epochs: float = 10.0
    """epochs in which the learning rate rises linearly"""


@dataclass(frozen=True)
class PretrainSessionConfig(SessionConfig):
    """Where a pre-training goes, on what it runs, what it keeps."""

    eval_every: int = 10
    """epochs between looks at the embeddings: neighbours that share a class, and signs of collapse"""
    selection: Literal["validation", "last", "test"] = "last"
    """the last weights are kept: labels select nothing"""


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that determines one pre-training.

    Attributes:
        kind, words, command, data, backbone, session: as in `RunConfig`.
        pretraining: what is learned from images without labels.
        optim: how the network is pre-trained.
    """

    kind: ClassVar[Kind] = "pretraining"
    words: ClassVar[str] = "pre-training"
    command: ClassVar[str] = "pretrain"

    data: DataConfig = field(default_factory=DataConfig)
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    optim: PretrainOptimConfig = field(default_factory=PretrainOptimConfig)
    session: PretrainSessionConfig = field(default_factory=PretrainSessionConfig)


ONLY_HERE = "base"
"""A key by which a file without a kind is known to configure a pre-training."""
