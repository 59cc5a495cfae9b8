"""From the configuration of a pre-training to its parts."""

from __future__ import annotations

import torch

from pretask.config.files import override, to_flat, to_full
from pretask.config.sections import PretrainConfig
from pretask.data import ImageData
from pretask.data.loaders.augmentation import get_augmentation
from pretask.errors import PretaskError
from pretask.methods import ModelCard
from pretask.pretraining import (
    OBJECTIVES,
    Objective,
    ObjectiveParts,
    create_objective,
    get_strength,
    recommended_strength,
)
from pretask.training.build import backbone_name, build_backbone
from pretask.training.device import resolve_precision
from pretask.training.step import resolve_compile


def resolve_pretraining(config: PretrainConfig, data: ImageData, device: torch.device) -> PretrainConfig:
    """Decide whatever the configuration leaves open, so that what is saved says all.

    Raises:
        PretaskError: fewer than two images in a step; an augmentation of the loader, or selection by labels, which
            pre-training does not have.
    """
    if min(len(data.train), config.optim.batch_size) < 2:
        raise PretaskError(
            f"pre-training compares images with each other: {len(data.train)} train image(s) in batches of "
            f"{config.optim.batch_size} are too few, give at least two images and --batch-size 2"
        )
    if config.data.augment not in ("auto", "none"):
        raise PretaskError(
            f"--augment {config.data.augment} is for training with labels: pre-training makes its own views, "
            "type --strength small, photo, medical or upright"
        )
    if config.session.selection != "last":
        raise PretaskError(
            f"--selection {config.session.selection} needs labels, which pre-training does not read: "
            "type --selection last, or nothing"
        )
    asked = config.pretraining
    mirrors = get_augmentation(data.augment).flip
    return override(
        config,
        augment="none",
        **{key: value for key, value in to_full(config).items() if key not in to_flat(config)},
        backbone=backbone_name(config.backbone, data.image_size),
        strength=asked.strength
        if asked.strength != "auto"
        else recommended_strength(data.image_size, data.channels, mirrors),
        precision=resolve_precision(config.session.precision, device),
        compile=resolve_compile(config.session.compile, device, config.session.shard_weights),
    )


def build_objective(config: PretrainConfig, data: ImageData) -> Objective:
    """Return the objective, weights drawn from the run's seed.

    Raises:
        PretaskError: parts that do not suit the data or each other.
        MissingExtra: `lightly` or `kornia` is not installed.
    """
    asked = config.pretraining
    torch.manual_seed(config.session.seed)
    parts = ObjectiveParts(build_backbone(config, data), data.mean, data.std, get_strength(asked.strength))
    return create_objective(OBJECTIVES.spec(asked.method, config.options), parts)


def encoder_card(config: PretrainConfig, data: ImageData, objective: Objective) -> ModelCard:
    """Return what `model.json` says of a pre-trained backbone: it has no classes."""
    return ModelCard(
        backbone=config.backbone.backbone,
        image_size=data.image_size,
        channels=data.channels,
        class_names=(),
        mean=data.mean,
        std=data.std,
        method=config.pretraining.method,
        inference="",
        facts={
            "data": data.name,
            "train_images": len(data.train),
            "seed": config.session.seed,
            "reconstructions": [objective.reconstruction] if objective.reconstruction else [],
        },
    )
