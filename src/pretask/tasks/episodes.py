"""Training by episodes of a few classes, to be tried on classes that it has never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from rich.console import Console

from pretask.config.sections import FewShotConfig, Kind
from pretask.data.loaders.loader import Loader
from pretask.data.loaders.schedule import EpisodeSchedule, EpisodeSize
from pretask.data.splits.classes import ClassSplit, load_class_split
from pretask.errors import PretaskError
from pretask.evaluation.few_shot import EpisodeJudge
from pretask.methods import load_part, save_encoder
from pretask.methods.episodic import EpisodicMethod
from pretask.pretexts import Pretext, create_pretexts
from pretask.tasks.task import Task
from pretask.training.data import split_seed
from pretask.training.loop import Validate
from pretask.training.run_folder import RunFolder
from pretask.training.snapshot import Position

VALIDATION_SHARE = 3
"""Selection takes a third of the test's episodes."""


class Episodes(Task[FewShotConfig, ClassSplit, EpisodicMethod]):
    """Trains backbone and head by episodes of the train classes; see `Task`."""

    kind: ClassVar[Kind] = "episodes"
    unit: ClassVar[str] = "episodes"
    measured: ClassVar[bool] = False  # a batch is an episode, whose labels are drawn by class

    @classmethod
    def read(cls, config: FewShotConfig, given: ClassSplit | None = None) -> Self:
        """Return the task, the classes of its data shared out; see `Task.read`.

        Raises:
            PretaskError: see `load_class_split`; keys that choose labels, which episodes do not have.
        """
        if given is not None:
            return cls(config, given)
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
        split = load_class_split(
            asked.data,
            image_size=asked.image_size,
            channels=asked.channels,
            root=asked.data_root,
            skip_bad=asked.skip_bad,
            seed=split_seed(config),
        )
        return cls(config, split)

    @property
    def name(self) -> str:
        return f"few-shot-{self.config.episodes.head}"

    def decisions(self) -> dict[str, Any]:
        """Return what this kind decides; see `Task.decisions`.

        Raises:
            PretaskError: selection on the test classes, or pretexts that do not suit the images.
        """
        if self.config.session.selection == "test":
            raise PretaskError(
                "--selection test would choose by the classes that are to be new: type validation or last"
            )
        pretexts = self._pretexts()
        for pretext in pretexts:
            pretext.check(self.images.channels, *self.images.image_size)
        return {"pretexts": tuple(pretext.name for pretext in pretexts)}

    def build(self) -> EpisodicMethod:
        torch.manual_seed(self.config.session.seed)
        asked = self.config.episodes
        backbone = self.backbone()
        return EpisodicMethod(
            backbone,
            *self.normalisation(backbone),
            asked.head,
            asked.ways,
            asked.shots,
            self._pretexts(),
        )

    def _pretexts(self) -> tuple[Pretext, ...]:
        asked = self.config.episodes.pretexts
        return tuple(create_pretexts(asked)) if asked else ()

    def _size(self) -> EpisodeSize:
        asked = self.config.episodes
        return EpisodeSize(asked.ways, asked.shots, asked.queries)

    def images_per_step(self, trainee: EpisodicMethod) -> int:
        """Return the images of an episode, whatever the batch size says."""
        return self._size().images

    def loader(self, trainee: EpisodicMethod, rank: int = 0, world_size: int = 1) -> Loader:
        """Return one rank's episodes of the train classes; see `Task.loader`.

        Raises:
            PretaskError: too few classes or images for an episode.
        """
        images, seed, steps = self.images.train, self.config.session.seed, self.config.episodes.episodes
        schedule = EpisodeSchedule.make(images.labels, self._size(), steps, seed, rank, world_size)
        return self._loader_of(images, schedule.batch_size, schedule=schedule)

    def describe(self, trainee: EpisodicMethod) -> str:
        return trainee.summary()

    def validation(self, console: Console | None) -> Validate[EpisodicMethod]:
        self._judge(test=True)  # its classes may be too few: that is said before the training
        judge = self._judge(test=False)

        def validate(method: EpisodicMethod) -> dict[str, dict[str, Any]]:
            name = _inferences(method)[0]
            return {name: judge(method, name)}

        return validate

    def _judge(self, test: bool) -> EpisodeJudge:
        """Return the judge by episodes of the test or the validation classes."""
        count = self.config.episodes.test_episodes
        if test:
            return EpisodeJudge(self.data.test, self._size(), count, 0, self.device)
        fewer = max(1, count // VALIDATION_SHARE)
        return EpisodeJudge(self.data.validation, self._size(), fewer, 1, self.device)

    def save(self, trainee: EpisodicMethod, folder: Path) -> None:
        card = self.card(trainee.backbone, method=self.config.episodes.head)
        save_encoder(folder, trainee.encoder, card, {"episodes": trainee.head})

    def results(
        self, trainee: EpisodicMethod, folder: RunFolder, position: Position, epochs: int
    ) -> dict[str, Any]:
        """Return the numbers of each inference on the test classes, with the weights that were selected."""
        trainee.backbone.load_state_dict(load_part(folder.path, "backbone"))
        trainee.head.load_state_dict(load_part(folder.path, "episodes"))
        judge = self._judge(test=True)
        parts = {"train": self.data.train, "validation": self.data.validation, "test": self.data.test}
        return {
            "pretexts": list(self.config.episodes.pretexts),
            "inferences": {},
            "few_shot": {name: judge(trainee, name) for name in _inferences(trainee)},
            "protocol": judge.protocol,
            "selection": self.config.session.selection,
            "selected_epoch": position.selected_epoch,
            "classes": {name: list(part.class_names) for name, part in parts.items()},
        }


def _inferences(method: EpisodicMethod) -> tuple[str, ...]:
    """Return the ways in which a method can answer, the default first."""
    return ("aggregated", "single") if method.views > 1 else ("single",)
