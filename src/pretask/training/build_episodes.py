"""From the configuration of a training by episodes to its parts."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from pretask.config.files import override
from pretask.config.sections import FewShotConfig, SessionConfig
from pretask.data.loaders.episodes import EpisodeSchedule, EpisodeSize
from pretask.data.loaders.loader import Loader, create_loader
from pretask.data.splits.classes import ClassSplit, load_class_split
from pretask.errors import PretaskError
from pretask.methods import ModelCard
from pretask.methods.episodic import EpisodicMethod
from pretask.pretexts import Pretext, create_pretexts
from pretask.training.build import backbone_name, build_backbone, split_seed
from pretask.training.device import resolve_precision
from pretask.training.header import machine_line
from pretask.training.optim import training_length
from pretask.training.step import resolve_compile


def build_class_split(config: FewShotConfig) -> ClassSplit:
    """Read the data and share out its classes.

    Raises:
        PretaskError: see `load_class_split`; keys that choose labels, which episodes do not have.
    """
    asked = config.data
    limited = {
        "per_class": asked.per_class,
        "label_fraction": asked.label_fraction,
        "imbalance": asked.imbalance,
    }
    for key, value in limited.items():
        if value is not None:
            raise PretaskError(
                f"--{key.replace('_', '-')} is for training with labels: episodes draw --shots of each class"
            )
    return load_class_split(
        asked.data,
        image_size=asked.image_size,
        channels=asked.channels,
        root=asked.data_root,
        skip_bad=asked.skip_bad,
        seed=split_seed(config),
    )


def resolve_episodes(config: FewShotConfig, split: ClassSplit, device: torch.device) -> FewShotConfig:
    """Decide whatever the configuration leaves open, so that what is saved says all.

    Raises:
        PretaskError: selection on the test classes, or pretexts that do not suit the images.
    """
    if config.session.selection == "test":
        raise PretaskError(
            "--selection test would choose by the classes that are to be new: type validation or last"
        )
    pretexts = _pretexts(config)
    for pretext in pretexts:
        pretext.check(split.train.channels, *split.train.image_size)
    return override(
        config,
        augment=split.train.augment if config.data.augment == "auto" else config.data.augment,
        backbone=backbone_name(config.backbone, split.train.image_size),
        pretexts=tuple(pretext.name for pretext in pretexts),
        precision=resolve_precision(config.session.precision, device),
        compile=resolve_compile(config.session.compile, device, config.session.shard_weights),
    )


def episode_size(config: FewShotConfig) -> EpisodeSize:
    """Return what an episode consists of."""
    return EpisodeSize(config.episodes.ways, config.episodes.shots, config.episodes.queries)


def build_episodic(config: FewShotConfig, split: ClassSplit) -> EpisodicMethod:
    """Return the method, weights drawn from the run's seed.

    Raises:
        PretaskError: parts that do not suit the data or each other.
    """
    torch.manual_seed(config.session.seed)
    asked = config.episodes
    return EpisodicMethod(
        build_backbone(config, split.train),
        split.train.mean,
        split.train.std,
        asked.head,
        asked.ways,
        asked.shots,
        _pretexts(config),
    )


def _pretexts(config: FewShotConfig) -> tuple[Pretext, ...]:
    return tuple(create_pretexts(config.episodes.pretexts)) if config.episodes.pretexts else ()


def episode_loader(config: FewShotConfig, split: ClassSplit, accelerator: Accelerator) -> Loader:
    """Return this process's loader of episodes of the train classes.

    Raises:
        PretaskError: too few classes or images for an episode.
    """
    images, seed = split.train.train, config.session.seed
    schedule = EpisodeSchedule.make(
        images.labels,
        episode_size(config),
        config.episodes.episodes,
        seed,
        accelerator.process_index,
        accelerator.num_processes,
    )
    return create_loader(
        images,
        image_size=split.train.image_size,
        batch_size=schedule.batch_size,
        device=accelerator.device,
        train=True,
        augment=config.data.augment,
        kind=config.data.loader,
        seed=seed,
        workers=config.data.workers,
        channels_last=config.session.channels_last,
        schedule=schedule,
    )


def episodic_header(
    config: FewShotConfig,
    split: ClassSplit,
    method: EpisodicMethod,
    loader: Loader,
    accelerator: Accelerator,
    asked: SessionConfig,
) -> list[str]:
    """Return the lines that say what a training by episodes is made of, warnings included."""
    facts, optim = method.backbone.facts, config.optim
    epochs, total = training_length(optim, len(loader))
    lines = [
        f"data      {split.summary()}",
        f"backbone  {facts.summary()}",
        f"method    {method.summary()}",
        f"training  {epochs} epochs, {total} episodes of {loader.batch_size} images x {accelerator.num_processes} "
        f"process(es), {optim.optimizer} {optim.lr:g} {optim.schedule}, augmentation {config.data.augment}",
        machine_line(config.session, asked, loader, accelerator),
    ]
    return [*lines, *([f"warning   {facts.warning()}"] if facts.warning() else [])]


def episodic_card(config: FewShotConfig, split: ClassSplit) -> ModelCard:
    """Return what `model.json` says of a backbone trained by episodes: its classes are new each time."""
    return ModelCard(
        backbone=config.backbone.backbone,
        image_size=split.train.image_size,
        channels=split.train.channels,
        class_names=(),
        mean=split.train.mean,
        std=split.train.std,
        method=config.episodes.head,
        inference="",
        facts={"data": split.name, "train_images": len(split.train.train), "seed": config.session.seed},
    )
