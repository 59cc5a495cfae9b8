"""Training with labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from accelerate import PartialState
from rich.console import Console

from pretask.config.files import to_flat
from pretask.config.sections import Kind, MethodConfig, RunConfig
from pretask.data import ImageData
from pretask.data.loaders.augmentation import get_augmentation
from pretask.data.loaders.loader import in_memory
from pretask.errors import PretaskError
from pretask.evaluation.accuracy import Accuracy, all_metrics, evaluate_split
from pretask.evaluation.calibration import doubts, fit_temperature
from pretask.evaluation.metrics import expected_calibration_error
from pretask.evaluation.predictions import Predictions
from pretask.losses import LOSSES, create_loss
from pretask.methods import (
    METHODS,
    Classifier,
    Method,
    MethodParts,
    create_method,
    load_classifier,
    save_calibration,
    save_model,
)
from pretask.options import Decision
from pretask.pretexts import Pretext, create_pretexts
from pretask.tasks.rules import Situation, settle
from pretask.tasks.task import Task, few_steps
from pretask.training.data import build_data
from pretask.training.loop import Prepare, Validate
from pretask.training.preparation import (
    check_low_resolution,
    low_resolution,
    make_preparation,
    training_attack,
)
from pretask.training.run_folder import RunFolder
from pretask.training.snapshot import Position


class Supervised(Task[RunConfig, ImageData, Method]):
    """Trains a method; see `Task`. It is judged by its answers on the validation and test images."""

    kind: ClassVar[Kind] = "supervised"

    @classmethod
    def read(cls, config: RunConfig, given: ImageData | None = None) -> Self:
        return cls(config, build_data(config, given))

    @property
    def name(self) -> str:
        return self.config.method.method

    def settle(self) -> Sequence[Decision]:
        at = Situation(len(self.images.train), pretrained=self.config.backbone.published)
        return settle(at, to_flat(self.config))

    def decisions(self) -> dict[str, Any]:
        attack, low = training_attack(self.config), low_resolution(self.config.method)
        return {
            "pretexts": self._pretext_names(),
            "low_resolution": 1.0 if low is None else low.scale,
            "low_resolution_share": 0.0 if low is None else low.share,
            **({} if attack is None else {"epsilon": 255 * attack.epsilon}),
        }

    def _pretext_names(self) -> tuple[str, ...]:
        """Return the pretexts asked for, or the method's own, by their full names.

        Quarter turns become half turns on oblong images.
        """
        own = METHODS.get(self.config.method.method).default_pretexts
        if self.images.image_size[0] != self.images.image_size[1]:
            own = tuple("rotation2" if name == "rotation" else name for name in own)
        names = self.config.method.pretexts or own
        return tuple(pretext.name for pretext in create_pretexts(names)) if names else ()

    def build(self) -> Method:
        asked, data = self.config.method, self.images
        torch.manual_seed(self.config.session.seed)
        pretexts = create_pretexts(asked.pretexts) if asked.pretexts else ()
        for pretext in pretexts:
            if pretext.domain == "image" and asked.method != "baseline":
                pretext.check(data.channels, *data.image_size)
        backbone = self.backbone()
        mean, std = self.normalisation(backbone)
        parts = MethodParts(
            backbone=backbone,
            class_counts=data.class_counts,
            mean=mean,
            std=std,
            pretexts=pretexts,
            make_loss=create_loss(LOSSES.spec(asked.loss, self.config.options)),
        )
        method = create_method(METHODS.spec(asked.method, self.config.options), parts)
        _check_mixing(asked, method)
        if (low := low_resolution(asked)) is not None:
            check_low_resolution(low, method, data.channels, data.image_size)
        return method

    def images_per_step(self, trainee: Method) -> int:
        return trainee.images_per_step(self.config.optim.batch_size)

    def describe(self, trainee: Method) -> str:
        added = f", {trainee.summary()}" if trainee.summary() else ""
        return f"{self.name}{added}, {self.config.method.loss}; answers: {', '.join(trainee.inferences)}"

    @property
    def changes(self) -> str:
        if (low := low_resolution(self.config.method)) is None:
            return super().changes
        height, width = low.size(self.images.image_size)
        return f"{super().changes}, {height}x{width} pixels in the first {low.share:.0%}"

    def warnings(self, trainee: Method, steps: int) -> Sequence[str]:
        optimistic = "selection on the test set: the reported test accuracy is optimistic"
        return (
            *map(self._hidden_label, trainee.pretexts),
            few_steps(len(self.images.train), steps, self.config.optim.batch_size),
            optimistic if self.config.session.selection == "test" else "",
        )

    def _hidden_label(self, pretext: Pretext) -> str:
        augmentation = get_augmentation(self.config.data.augment)
        hiding = [part for part in sorted(pretext.hidden_by) if getattr(augmentation, part)]
        if not hiding:
            return ""
        return (
            f"augmentation {augmentation.name} makes the changes of pretext {pretext.name} at random, "
            f"which hides its label: type an --augment without {hiding[0]}"
        )

    def unshardable(self, trainee: Method) -> str:
        attack = self.config.method.adversarial
        if attack == "none":
            return ""
        return f"the attack needs the whole network before the step: drop --adversarial {attack}"

    def passes(self, trainee: Method) -> float:
        low = low_resolution(self.config.method)
        return trainee.passes_per_image * (1.0 if low is None else low.work(self.images.image_size))

    def preparation(self) -> Prepare[Method] | None:
        return make_preparation(self.config, self.images.num_classes)

    def validation(self, console: Console | None) -> Validate[Method] | None:
        split = {"validation": self.images.validation, "test": self.images.test, "last": None}[
            self.config.session.selection
        ]
        if split is None:
            return None
        of_epochs = cache(partial(in_memory, split, self.images.image_size, self.device))

        def validate(method: Method) -> dict[str, dict[str, Any]]:
            name = method.inferences[0]
            classifier = method.classifier(name)
            rows, size = self._rows(classifier.num_views), self.images.image_size
            judged = split if self.config.data.loader == "streaming" else of_epochs()
            return {
                name: evaluate_split(classifier, judged, image_size=size, batch_size=rows, **self._judging())
            }

        return validate

    def save(self, trainee: Method, folder: Path) -> None:
        """Write the method's classifiers, one per inference, as the run's model."""
        classifiers = {name: trainee.classifier(name) for name in trainee.inferences}
        card = self.card(
            trainee.backbone,
            trainee.inferences[0],
            self.images.class_names,
            class_counts=self.images.class_counts.tolist(),
            reconstructions=[p.reconstruction for p in trainee.pretexts if p.reconstruction],
        )
        save_model(folder, classifiers, card)

    def results(self, trainee: Method, folder: RunFolder, position: Position, epochs: int) -> dict[str, Any]:
        """Return the numbers of the selected and the last weights, for each inference."""
        inferences, calibration = {}, {}
        for name in trainee.inferences:
            last = trainee.classifier(name)
            chosen, calibration[name] = self._final(load_classifier(folder.path, name).to(self.device))
            end = chosen if position.selected_epoch == epochs else self._final(last)[0]
            inferences[name] = {"selected": chosen, "last": end}
        if PartialState().is_main_process:
            save_calibration(folder.path, calibration)
        selects = self.validation(None) is not None
        return {
            "pretexts": [pretext.name for pretext in trainee.pretexts],
            "views": trainee.views_per_image,
            "default_inference": trainee.inferences[0],
            "inferences": inferences,
            "selection": self.config.session.selection if selects else "last",
            "optimistic": self.config.session.selection == "test",
            "selected_epoch": position.selected_epoch,
            "protocol": Accuracy("test").protocol,
        }

    def _final(self, classifier: Classifier) -> tuple[dict[str, Any], dict[str, Any]]:
        """Calibrate a classifier on the validation set.

        Returns:
            all its numbers on the validation and test sets, and its calibration, see `save_calibration`.
        """
        found, temperature, doubted = dict[str, Any](), 1.0, list[float]()
        classifier.temperature = temperature
        for split in ("validation", "test"):
            if getattr(self.images, split) is None:
                continue
            evaluator = Accuracy(split, batch_size=self._rows(classifier.num_views), **self._judging())
            raw = evaluator.predictions(classifier, self.images)
            if split == "validation":
                temperature = fit_temperature(raw.logits, raw.labels)
                doubted = doubts(raw.logits / temperature, raw.labels)
            scaled = Predictions(raw.logits / temperature, raw.labels)
            found[split] = {
                **all_metrics(scaled, self.images.class_counts),
                "ece_uncalibrated": expected_calibration_error(raw.logits, raw.labels),
                "temperature": temperature,
            }
        return found, {"temperature": temperature, "doubts": doubted}

    def _rows(self, num_views: int) -> int:
        """Images in a forward pass of an evaluation, such that views do not multiply its memory."""
        at_once = self.config.optim.batch_size // self.config.optim.accumulate
        return max(16, max(32, 2 * at_once) // num_views)

    def _judging(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "channels_last": self.config.session.channels_last,
            "workers": self.config.data.workers,
            "precision": self._precision,
        }

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.session.precision == "bf16"
        )


def _check_mixing(asked: MethodConfig, method: Method) -> None:
    if method.unlabelled_per_image and (asked.mixup or asked.cutmix or asked.adversarial != "none"):
        raise PretaskError(
            f"{asked.method} has images without labels in its batches, which mixup, cutmix and attacks need: "
            "leave these out"
        )
