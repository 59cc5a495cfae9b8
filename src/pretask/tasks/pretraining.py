"""Pre-training: a backbone learns without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from accelerate import Accelerator
from rich.console import Console

from pretask.config.sections import Kind, PretrainConfig
from pretask.data import ImageData
from pretask.data.loaders.augmentation import get_augmentation
from pretask.data.loaders.loader import Loader
from pretask.errors import PretaskError
from pretask.evaluation.knn import EmbeddingWatch
from pretask.methods import save_encoder
from pretask.pretraining import (
    OBJECTIVES,
    Objective,
    ObjectiveParts,
    create_objective,
    get_strength,
    recommended_strength,
)
from pretask.tasks.task import Task, few_steps
from pretask.training.data import build_data
from pretask.training.loop import Validate
from pretask.training.run_folder import RunFolder
from pretask.training.snapshot import Position


class Pretraining(Task[PretrainConfig, ImageData, Objective]):
    """Trains an objective, and keeps its backbone; see `Task`.

    Labels shape the splits, and where there are some the neighbours of embeddings are counted by class during
    training; nothing is learned or selected from them.
    """

    kind: ClassVar[Kind] = "pretraining"

    @classmethod
    def read(cls, config: PretrainConfig, given: ImageData | None = None) -> Self:
        return cls(config, build_data(config, given))

    @property
    def name(self) -> str:
        return self.config.pretraining.method

    def decisions(self) -> dict[str, Any]:
        """Return what this kind decides; see `Task.decisions`.

        Raises:
            PretaskError: fewer than two images in a step; an augmentation of the loader, or selection by labels, which
                pre-training does not have.
        """
        asked, data, session = self.config.pretraining, self.images, self.config.session
        batch_size, augment = self.config.optim.batch_size, self.config.data.augment
        if min(len(data.train), batch_size) < 2:
            raise PretaskError(
                f"pre-training compares images with each other: {len(data.train)} train image(s) in batches of "
                f"{batch_size} are too few, give at least two images and --batch-size 2"
            )
        if augment not in ("auto", "none"):
            raise PretaskError(
                f"--augment {augment} is for training with labels: pre-training makes its own views, "
                "type --strength small, photo, medical or upright"
            )
        if session.selection != "last":
            raise PretaskError(
                f"--selection {session.selection} needs labels, which pre-training does not read: "
                "type --selection last, or nothing"
            )
        mirrors = get_augmentation(data.augment).flip
        fitting = recommended_strength(data.image_size, data.channels, mirrors)
        return {
            "augment": "none",
            "strength": fitting if asked.strength == "auto" else asked.strength,
        }

    def build(self) -> Objective:
        asked = self.config.pretraining
        torch.manual_seed(self.config.session.seed)
        backbone = self.backbone()
        parts = ObjectiveParts(backbone, *self.normalisation(backbone), get_strength(asked.strength))
        return create_objective(OBJECTIVES.spec(asked.method, self.config.options), parts)

    def describe(self, trainee: Objective) -> str:
        strength = self.config.pretraining.strength
        return (
            f"{self.config.pretraining.method}, {trainee.summary()}; views: {strength}; labels are not read"
        )

    @property
    def changes(self) -> str:
        return ""

    def notes(self, trainee: Objective) -> Sequence[str]:
        what = trainee.reconstruction
        return (f"reconstructed, not the paper's own: {what}",) if what else ()

    def warnings(self, trainee: Objective, steps: int) -> Sequence[str]:
        return (few_steps(len(self.images.train), steps, self.config.optim.batch_size),)

    def unshardable(self, trainee: Objective) -> str:
        if trainee.average is None:
            return ""
        return "targets come from a moving average, which follows whole weights: type --target online"

    def validation(self, console: Console | None) -> Validate[Objective]:
        return EmbeddingWatch(self.images, self.device, self.config.session.seed, console)

    def save(self, trainee: Objective, folder: Path) -> None:
        reconstructions = [trainee.reconstruction] if trainee.reconstruction else []
        save_encoder(folder, trainee.encoder, self.card(trainee.backbone, reconstructions=reconstructions))

    def results(
        self, trainee: Objective, folder: RunFolder, position: Position, epochs: int
    ) -> dict[str, Any]:
        looks = [record["validation"] for record in folder.read_metrics() if "validation" in record]
        return {
            "base": trainee.base_name,
            "inferences": {},
            "selection": "last",
            "embeddings": looks[-1] if looks else {},
            "reconstruction": trainee.reconstruction,
        }


class Untrained(Pretraining):
    """Leaves the random weights that a pre-training of the same seed begins with.

    It is the control of every pre-training: what probes and fine-tuning make of no training at all. The objective and
    the schedule of its configuration are not used.
    """

    measured: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return "random"

    def passes(self, trainee: Objective) -> float:
        return 1.0

    def fit(
        self,
        trainee: Objective,
        loader: Loader,
        folder: RunFolder,
        accelerator: Accelerator,
        validate: Validate[Objective] | None,
        console: Console | None,
    ) -> tuple[Objective, Position]:
        """Save the trainee as it is."""
        if accelerator.is_main_process:
            self.save(trainee, folder.path)
        accelerator.wait_for_everyone()
        return trainee, Position()

    def results(
        self, trainee: Objective, folder: RunFolder, position: Position, epochs: int
    ) -> dict[str, Any]:
        return {**super().results(trainee, folder, position, epochs), "epochs": 0}
