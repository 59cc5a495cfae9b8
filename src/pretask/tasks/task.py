"""What a training is made of: a configuration, data, and what each kind of training makes of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from torch.nn.modules.batchnorm import _BatchNorm

from pretask.backbones import Backbone, create_backbone, resolve_backbone_name
from pretask.backbones.room import at_most
from pretask.backbones.stem import StemChoice
from pretask.config.files import C, override, to_full
from pretask.config.sections import Kind
from pretask.data import ImageData, LabelledImages
from pretask.data.loaders.loader import Loader, check_ratio, create_loader, pair
from pretask.data.loaders.schedule import Schedule
from pretask.data.splits.classes import ClassSplit
from pretask.errors import PretaskError
from pretask.methods import ModelCard, load_backbone_weights, read_card
from pretask.methods.model_files import room_of
from pretask.options import Decision
from pretask.training.data import D
from pretask.training.device import free_memory, resolve_precision
from pretask.training.loop import Prepare, Validate, fit
from pretask.training.run_folder import RunFolder
from pretask.training.snapshot import Position
from pretask.training.step import resolve_compile
from pretask.training.weights import T

FEW_STEPS = 8
SMALLEST_BATCH = 16


class Task(ABC, Generic[C, D, T]):
    """A configuration and its data, and what a kind of training decides, builds and judges by its own rules.

    `pretask.tasks.run_task` takes one from beginning to end; its parts serve alone too.

    Args:
        config: what is asked.
        data: read and split.

    Attributes:
        kind: of its configurations.
        unit: what its steps are called.
        measured: whether noise in place of images says what a step takes.
        config: as asked, and once `decide` was called with nothing left open.
        data: see above.
        images: of the data, those to train on, with what is known about them.
        device: where it computes, once `decide` was called.
        decided: what was chosen where the configuration leaves it open, from then on.
    """

    kind: ClassVar[Kind]
    unit: ClassVar[str] = "steps"
    measured: ClassVar[bool] = True
    device: torch.device
    decided: tuple[Decision, ...] = ()

    def __init__(self, config: C, data: D) -> None:
        self.config: C = config
        self.use(data)

    def use(self, data: D) -> None:
        """Take data, read and split, in place of what there is."""
        self.data: D = data
        self.images: ImageData = data.train if isinstance(data, ClassSplit) else data

    @property
    def whole(self) -> D:
        """The data before its images were split."""
        return self.data if isinstance(self.data, ClassSplit) else cast(D, self.data.whole or self.data)

    @classmethod
    @abstractmethod
    def read(cls, config: C, given: D | None = None) -> Self:
        """Return the task on the data that its configuration names.

        Args:
            config: what is asked.
            given: in place of that data.

        Raises:
            PretaskError: data that cannot be read, or split as asked.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """What is trained, as the run's folder and results call it."""

    def decide(self, device: torch.device) -> C:
        """Decide whatever the configuration leaves open, so that what is saved says all; every process must ask.

        Args:
            device: where the task is to compute.

        Returns:
            the configuration, which is the task's from then on.

        Raises:
            PretaskError: settings that do not suit this kind, the data or the device.
        """
        self._check_start()
        settled = self.settle()
        self.decided = (*self.images.decisions, *settled)
        self.config = override(self.config, **{made.key: made.value for made in settled})
        own, session, self.device = self.decisions(), self.config.session, device
        common = {
            "backbone": self._backbone_name(),
            "stem": self._stem(),
            "augment": self.images.augment
            if self.config.data.augment == "auto"
            else self.config.data.augment,
            "precision": resolve_precision(session.precision, device),
            "compile": resolve_compile(session.compile, device, session.shard_weights),
            "threads": session.threads or torch.get_num_threads(),
            "accumulate": self.config.optim.accumulate or 1,
        }
        self.config = override(self.config, **{**to_full(self.config), **common, **own})
        return self.config

    def settle(self) -> Sequence[Decision]:
        """Return what follows from the data for settings of the training that the configuration leaves open."""
        return ()

    @abstractmethod
    def decisions(self) -> dict[str, Any]:
        """Return the keys of the configuration that this kind decides, with their values; see `decide`."""

    @abstractmethod
    def build(self) -> T:
        """Return what is trained, weights drawn from the run's seed.

        Raises:
            PretaskError: parts that do not suit the data or each other.
        """

    def make(self) -> T:
        """Return what `build` does, if it fits into the memory.

        Raises:
            PretaskError: see `build`; it does not fit.
        """
        with at_most(
            free_memory(torch.device("cpu")), "which are not free: type a smaller --backbone or head"
        ):
            return self.build()

    def backbone(self) -> Backbone:
        """Return the network for images of the data's size and channels.

        Raises:
            PretaskError: a run to start from whose backbone is another, or weights that do not fit.
        """
        asked = self.config.backbone
        with nullcontext() if asked.init is None else room_of(asked.init):
            backbone = create_backbone(
                self._backbone_name(),
                image_size=self.images.image_size,
                in_channels=self.images.channels,
                pretrained=asked.pretrained,
                weights=asked.weights,
                keep_stem=asked.init is not None and read_card(Path(asked.init)).pretrained,
                stem=asked.stem,
            )
        if asked.init is not None:
            load_backbone_weights(backbone, Path(asked.init))
        return backbone

    def normalisation(self, backbone: Backbone) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and standard deviation of pixels: those of a backbone's published weights, or the data's."""
        facts = backbone.facts
        return (facts.mean, facts.std) if facts.mean else (self.images.mean, self.images.std)

    def _check_start(self) -> None:
        """Refuse several starting points."""
        asked = self.config.backbone
        starts = {"--init": asked.init, "--pretrained": asked.pretrained or None, "--weights": asked.weights}
        given = [flag for flag, value in starts.items() if value is not None]
        if len(given) > 1:
            number = "two" if len(given) == 2 else "three"
            raise PretaskError(f"{' and '.join(given)} are {number} starting points: type one of them")

    def _backbone_name(self) -> str:
        """Return the backbone asked for; where none is named, that of the run to start from, or one for the size."""
        asked = self.config.backbone
        if asked.backbone == "auto" and asked.init is not None:
            return read_card(Path(asked.init)).backbone
        return resolve_backbone_name(asked.backbone, self.images.image_size)

    def _stem(self) -> StemChoice:
        """Return the stem asked for; where none is, that of the run to start from."""
        asked = self.config.backbone
        return asked.stem if asked.stem != "auto" or asked.init is None else read_card(Path(asked.init)).stem

    def images_per_step(self, trainee: T) -> int:
        """Return how many labelled images a process takes in a step of the trainee."""
        return self.config.optim.batch_size

    def check_step(self, trainee: T) -> None:
        """Refuse a step of more images than there are, of more pieces than images, or of a single value per channel.

        Args:
            trainee: as built.

        Raises:
            PretaskError: see above.
        """
        rows = min(self.images_per_step(trainee), len(self.images.train))
        if (pieces := self.config.optim.accumulate) > rows:
            raise PretaskError(
                f"--accumulate {pieces} cuts the {rows} images of a step into more pieces than there are: "
                f"type --accumulate {rows} or less"
            )
        if trainee.unlabelled_per_image:
            check_ratio(rows, trainee.unlabelled_per_image, len(self.unlabelled))
        values = rows // pieces * trainee.image_views * math.prod(trainee.backbone.facts.final_map)
        if values == 1 and any(isinstance(module, _BatchNorm) for module in trainee.backbone.modules()):
            raise PretaskError(
                "batch normalisation needs two values of a channel, and one image has one in the last map, of 1x1: "
                "type --batch-size 2 or more, or a larger --image-size"
            )

    def loader(self, trainee: T, rank: int = 0, world_size: int = 1) -> Loader:
        """Return the batches of one rank to train on; `decide` was called.

        Raises:
            PretaskError: see `create_loader` and `pair`.
        """

        def make(images: LabelledImages, batch_size: int, schedule: Schedule | None = None) -> Loader:
            return self._loader_of(images, batch_size, rank=rank, world_size=world_size, schedule=schedule)

        labelled = make(self.images.train, self.images_per_step(trainee))
        if not trainee.unlabelled_per_image:
            return labelled
        return pair(labelled, make, self.unlabelled, trainee.unlabelled_per_image, trainee.unlabelled_views)

    @property
    def unlabelled(self) -> LabelledImages:
        """The images whose labels are not read."""
        return self.images.unlabelled or self.images.train

    def _loader_of(
        self,
        images: LabelledImages,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        schedule: Schedule | None = None,
    ) -> Loader:
        data, session = self.config.data, self.config.session
        return create_loader(
            images,
            image_size=self.images.image_size,
            batch_size=batch_size,
            device=self.device,
            train=True,
            augment=data.augment,
            kind=data.loader,
            seed=session.seed,
            rank=rank,
            world_size=world_size,
            workers=data.workers,
            channels_last=session.channels_last,
            schedule=schedule,
        )

    @abstractmethod
    def describe(self, trainee: T) -> str:
        """Return what the trainee is and how it learns, for the header."""

    @property
    def changes(self) -> str:
        """What is done to images on their way, for the header; begins with a comma where it is anything."""
        return f", augmentation {self.config.data.augment}"

    def notes(self, trainee: T) -> Sequence[str]:
        """Return what a person should know of the trainee, in lines for the header."""
        return ()

    def warnings(self, trainee: T, steps: int) -> Sequence[str]:
        """Return what may go wrong with the trainee in `steps` steps per epoch, in lines; empty ones are left out."""
        return ()

    def unshardable(self, trainee: T) -> str:
        """Return why this kind cannot share out the weights of the trainee, with the way out; "" where it can."""
        return ""

    def passes(self, trainee: T) -> float:
        """Return what an image is to cost the trainee over a training, in forward and backward passes at full size.

        What it has cost in the end is counted step by step.
        """
        return trainee.passes_per_image

    def preparation(self) -> Prepare[T] | None:
        """Return what changes the images and labels of a step before the trainee sees them."""
        return None

    @abstractmethod
    def validation(self, console: Console | None) -> Validate[T] | None:
        """Return what scores the trainee between epochs, or None where nothing does; warnings go to the console.

        Raises:
            PretaskError: data that cannot be judged by.
        """

    @abstractmethod
    def save(self, trainee: T, folder: Path) -> None:
        """Write what is kept of the trainee into a folder."""

    def fit(
        self,
        trainee: T,
        loader: Loader,
        folder: RunFolder,
        accelerator: Accelerator,
        validate: Validate[T] | None,
        console: Console | None,
    ) -> tuple[T, Position]:
        """Train; see `pretask.training.loop.fit`."""
        optim, session, prepare = self.config.optim, self.config.session, self.preparation()
        return fit(
            trainee, loader, optim, session, folder, accelerator, validate, self.save, console, prepare
        )

    @abstractmethod
    def results(self, trainee: T, folder: RunFolder, position: Position, epochs: int) -> dict[str, Any]:
        """Return what this kind finds out about a training that has ended.

        Args:
            trainee: with its last weights.
            folder: of the run, where `save` has left what was selected.
            position: where the training ended.
            epochs: how many it had.
        """

    def card(
        self,
        backbone: Backbone,
        inference: str = "",
        class_names: tuple[str, ...] = (),
        method: str | None = None,
        **facts: Any,
    ) -> ModelCard:
        """Return what `model.json` says of the network.

        Args:
            backbone: the network.
            inference: the default way to answer.
            class_names: of the classes that it distinguishes.
            method: its name; None is that of the task.
            facts: beside data, number of images and seed.
        """
        known: dict[str, Any] = {
            "data": self.data.name,
            "train_images": len(self.images.train),
            "seed": self.config.session.seed,
        }
        if interpolation := backbone.facts.interpolation:
            known["interpolation"] = interpolation
        mean, std = self.normalisation(backbone)
        return ModelCard(
            backbone=self.config.backbone.backbone,
            image_size=self.images.image_size,
            channels=self.images.channels,
            class_names=class_names,
            mean=mean,
            std=std,
            method=self.name if method is None else method,
            inference=inference,
            facts={**known, **facts},
            pretrained=backbone.facts.pretrained,
            stem=self.config.backbone.stem,
        )


def few_steps(images: int, steps: int, batch_size: int) -> str:
    """Return a warning where `images` images make few steps per epoch, else nothing."""
    if steps >= FEW_STEPS or batch_size <= SMALLEST_BATCH:
        return ""
    better = max(SMALLEST_BATCH, 2 ** int(math.log2(max(1, images / FEW_STEPS))))
    size = min(better, batch_size // 2)
    return f"{steps} step(s) per epoch are few for {images} images: consider --batch-size {size}"
