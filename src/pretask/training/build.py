"""From a configuration to the parts of a run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pretask.backbones import Backbone, create_backbone, resolve_backbone_name
from pretask.config.files import AnyConfig, C, override, to_flat, to_full
from pretask.config.sections import BackboneConfig, FewShotConfig, MethodConfig, PretrainConfig, RunConfig
from pretask.data import ImageData, LabelledImages, apply_splits, load_data
from pretask.data.loaders.loader import Loader, create_loader
from pretask.data.loaders.paired import pair
from pretask.data.readers.hub_stream import fixed_source
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError
from pretask.losses import LOSSES, create_loss
from pretask.methods import (
    METHODS,
    Method,
    MethodParts,
    ModelCard,
    create_method,
    load_backbone_weights,
    read_card,
)
from pretask.methods.fixmatch import FixMatch
from pretask.pretexts import create_pretexts
from pretask.training.device import resolve_precision
from pretask.training.preparation import check_low_resolution, low_resolution, training_attack
from pretask.training.step import resolve_compile


def build_data(config: AnyConfig) -> ImageData:
    """Read and split the data; a pre-training takes images without classes too.

    Raises:
        PretaskError: data that cannot be read or split as asked.
    """
    asked = config.data
    data = load_data(
        asked.data,
        image_size=asked.image_size,
        channels=asked.channels,
        skip_bad=asked.skip_bad,
        root=asked.data_root,
        labelled=not isinstance(config, PretrainConfig),
    )
    return split_data(data, config)


def fix_version(config: C) -> C:
    """Return the configuration with data that is read from the Hub named by its commit; every process must ask.

    So a run reads what it began with, and is not taken up with another version.

    Raises:
        PretaskError: the commit cannot be asked for.
    """
    source = found_by_first(lambda: fixed_source(config.data.data))
    return replace(config, data=replace(config.data, data=source))


def split_data(data: ImageData, config: AnyConfig) -> ImageData:
    """Apply the configuration's splits to data at hand; without classes, or for episodes, all are to train on."""
    asked = config.data
    if data.num_classes < 2 or isinstance(config, FewShotConfig):
        return data
    return apply_splits(
        data,
        validation=asked.validation if asked.validation < 1 else _whole(asked.validation),
        per_class=asked.per_class,
        label_fraction=asked.label_fraction,
        imbalance=asked.imbalance,
        imbalance_profile=asked.imbalance_profile,
        seed=split_seed(config),
    )


def split_seed(config: AnyConfig) -> int:
    """Return the seed of all splits: its own, or the run's."""
    return config.session.seed if config.data.split_seed is None else config.data.split_seed


def _whole(count: float) -> int:
    if count != int(count):
        raise PretaskError(f"--validation {count} is neither a fraction below 1 nor a whole number of images")
    return int(count)


def resolve(config: RunConfig, data: ImageData, device: torch.device) -> RunConfig:
    """Decide whatever the configuration leaves open, so that what is saved says all."""
    session, height_width = config.session, data.image_size
    attack, low = training_attack(config), low_resolution(config.method)
    open_options = {key: value for key, value in to_full(config).items() if key not in to_flat(config)}
    decided: dict[str, Any] = {} if attack is None else {"epsilon": 255 * attack.epsilon}
    return override(
        config,
        **{
            **open_options,
            **decided,
            "backbone": backbone_name(config.backbone, height_width),
            "augment": data.augment if config.data.augment == "auto" else config.data.augment,
            "pretexts": pretext_names(config, height_width),
            "low_resolution": 1.0 if low is None else low.scale,
            "low_resolution_share": 0.0 if low is None else low.share,
            "precision": resolve_precision(session.precision, device),
            "compile": resolve_compile(session.compile, device, session.shard_weights),
        },
    )


def pretext_names(config: RunConfig, image_size: tuple[int, int]) -> tuple[str, ...]:
    """Return the pretexts asked for, or the method's own, by their full names.

    Quarter turns become half turns on oblong images of this (height, width).
    """
    own = METHODS.get(config.method.method).default_pretexts
    if image_size[0] != image_size[1]:
        own = tuple("rotation2" if name == "rotation" else name for name in own)
    names = config.method.pretexts or own
    return tuple(pretext.name for pretext in create_pretexts(names)) if names else ()


def backbone_name(asked: BackboneConfig, image_size: tuple[int, int]) -> str:
    """Return the backbone asked for; where none is named, that of the run to start from, or one for the size."""
    if asked.backbone == "auto" and asked.init is not None:
        return read_card(Path(asked.init)).backbone
    return resolve_backbone_name(asked.backbone, image_size)


def build_backbone(config: AnyConfig, data: ImageData) -> Backbone:
    """Return the network for images of the data's size and channels.

    Raises:
        PretaskError: two starting points, or a run to start from whose backbone is another.
    """
    asked = config.backbone
    if asked.init is not None and asked.pretrained:
        raise PretaskError("--init and --pretrained are two starting points: type one of them")
    backbone = create_backbone(
        backbone_name(asked, data.image_size),
        image_size=data.image_size,
        in_channels=data.channels,
        pretrained=asked.pretrained,
    )
    if asked.init is not None:
        load_backbone_weights(backbone, Path(asked.init))
    return backbone


def build_method(config: RunConfig, data: ImageData) -> Method:
    """Return the training objective, weights drawn from the run's seed.

    Raises:
        PretaskError: parts that do not suit the data or each other.
    """
    asked = config.method
    _check_mixing(asked)
    torch.manual_seed(config.session.seed)
    pretexts = create_pretexts(asked.pretexts) if asked.pretexts else ()
    for pretext in pretexts:
        if pretext.domain == "image" and asked.method != "baseline":
            pretext.check(data.channels, *data.image_size)
    parts = MethodParts(
        backbone=build_backbone(config, data),
        class_counts=data.class_counts,
        mean=data.mean,
        std=data.std,
        pretexts=pretexts,
        make_loss=create_loss(LOSSES.spec(asked.loss, config.options)),
    )
    method = create_method(METHODS.spec(asked.method, config.options), parts)
    if (low := low_resolution(asked)) is not None:
        check_low_resolution(low, method, data.channels, data.image_size)
    return method


def passes_per_image(config: RunConfig, method: Method, image_size: tuple[int, int]) -> float:
    """Return what an image costs over a whole training, in forward and backward passes at full size."""
    low = low_resolution(config.method)
    return method.passes_per_image * (1.0 if low is None else low.work(image_size))


def _check_mixing(asked: MethodConfig) -> None:
    changed = asked.mixup or asked.cutmix or asked.adversarial != "none"
    if changed and issubclass(METHODS.get(asked.method), FixMatch):
        raise PretaskError(
            f"{asked.method} has images without labels in its batches, which mixup, cutmix and attacks need: "
            "leave these out"
        )


def build_loader(
    config: AnyConfig, data: ImageData, device: torch.device, rank: int, world_size: int
) -> Loader:
    """Return the loader of training batches for one rank.

    Raises:
        PretaskError: see `create_loader`; fewer unlabelled images than a step of FixMatch takes.
    """

    def loader(images: LabelledImages, batch_size: int) -> Loader:
        return create_loader(
            images,
            image_size=data.image_size,
            batch_size=batch_size,
            device=device,
            train=True,
            augment=config.data.augment,
            kind=config.data.loader,
            seed=config.session.seed,
            rank=rank,
            world_size=world_size,
            workers=config.data.workers,
            channels_last=config.session.channels_last,
        )

    labelled = loader(data.train, images_per_step(config))
    if not (isinstance(config, RunConfig) and issubclass(METHODS.get(config.method.method), FixMatch)):
        return labelled
    return pair(labelled, loader, data.unlabelled or data.train, int(to_full(config)["unlabelled_ratio"]))


def images_per_step(config: AnyConfig) -> int:
    """Return how many labelled images a process takes in a step: the batch size, or its part for their views."""
    size = config.optim.batch_size
    if not isinstance(config, RunConfig):
        return size
    asked, kind = config.method, METHODS.get(config.method.method)
    options = to_full(config)
    if options.get("batch_of", "images") == "images":
        return size
    pretexts = create_pretexts(asked.pretexts or kind.default_pretexts)
    total = math.prod(pretext.num_labels for pretext in pretexts if pretext.domain == "image")
    return max(1, size // min(total, options["views"] or total))


def model_card(config: RunConfig, data: ImageData, method: Method) -> ModelCard:
    """Return what `model.json` says of a run's classifier."""
    return ModelCard(
        backbone=config.backbone.backbone,
        image_size=data.image_size,
        channels=data.channels,
        class_names=data.class_names,
        mean=data.mean,
        std=data.std,
        method=config.method.method,
        inference=method.inferences[0],
        facts={
            "data": data.name,
            "train_images": len(data.train),
            "class_counts": data.class_counts.tolist(),
            "seed": config.session.seed,
            "reconstructions": [p.reconstruction for p in method.pretexts if p.reconstruction],
        },
    )
