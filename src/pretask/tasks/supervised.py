"""Training with labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from rich.console import Console

from pretask.config.sections import Kind, MethodConfig, RunConfig
from pretask.data import ImageData
from pretask.data.loaders.augmentation import get_augmentation
from pretask.errors import PretaskError
from pretask.evaluation.accuracy import Accuracy, evaluate_split
from pretask.losses import LossOptions, create_loss
from pretask.methods import (
    METHODS,
    GateOptions,
    Method,
    MethodParts,
    create_method,
    load_classifier,
    save_model,
)
from pretask.pretexts import Pretext, create_pretexts
from pretask.tasks.header import few_steps
from pretask.tasks.task import Task
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

    def decisions(self) -> dict[str, Any]:
        asked, kind = self.config.method, METHODS.get(self.config.method.method)
        attack, low = training_attack(asked), low_resolution(asked)
        return {
            "pretexts": self._pretext_names(),
            "views": _given(asked.views, kind.default_views),
            "batch_of": kind.default_batch_of if asked.batch_of == "auto" else asked.batch_of,
            "low_resolution": 1.0 if low is None else low.scale,
            "low_resolution_share": 0.0 if low is None else low.share,
            "pretext_weight": _given(asked.pretext_weight, kind.default_pretext_weight),
            "epsilon": _given(asked.epsilon, None if attack is None else 255 * attack.epsilon),
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
        parts = MethodParts(
            backbone=self.backbone(),
            class_counts=data.class_counts,
            mean=data.mean,
            std=data.std,
            pretexts=pretexts,
            layer=asked.layer,
            make_loss=create_loss(asked.loss, _loss_options(asked)),
            views=asked.views,
            view_reduction=asked.view_reduction,
            pretext_weight=asked.pretext_weight,
            pretext_scale=asked.pretext_scale,
            gate=_gate_options(asked),
            distill_temperature=asked.distill_temperature,
            distill_weight=asked.distill_weight,
            pseudo_threshold=asked.pseudo_threshold,
            align_guesses=asked.align_guesses,
            unlabelled_weight=asked.unlabelled_weight,
            unlabelled_ratio=asked.unlabelled_ratio,
        )
        method = create_method(asked.method, parts)
        _check_mixing(asked, method)
        if (low := low_resolution(asked)) is not None:
            check_low_resolution(low, method, data.channels, data.image_size)
        return method

    def images_per_step(self, trainee: Method) -> int:
        """Return the batch size, or its part for the views of an image where these are what it counts."""
        size = self.config.optim.batch_size
        return max(1, size // trainee.image_views) if self.config.method.batch_of == "views" else size

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
        return make_preparation(self.config.method, self.images.num_classes)

    def validation(self, console: Console | None) -> Validate[Method] | None:
        split = {"validation": self.images.validation, "test": self.images.test, "last": None}[
            self.config.session.selection
        ]
        if split is None:
            return None

        def validate(method: Method) -> dict[str, dict[str, Any]]:
            name = method.inferences[0]
            classifier = method.classifier(name)
            rows, size = self._rows(classifier.num_views), self.images.image_size
            return {
                name: evaluate_split(classifier, split, image_size=size, batch_size=rows, **self._judging())
            }

        return validate

    def save(self, trainee: Method, folder: Path) -> None:
        """Write the method's classifiers, one per inference, as the run's model."""
        classifiers = {name: trainee.classifier(name) for name in trainee.inferences}
        card = self.card(
            trainee.inferences[0],
            self.images.class_names,
            class_counts=self.images.class_counts.tolist(),
            reconstructions=[p.reconstruction for p in trainee.pretexts if p.reconstruction],
        )
        save_model(folder, classifiers, card)

    def results(self, trainee: Method, folder: RunFolder, position: Position, epochs: int) -> dict[str, Any]:
        """Return the numbers of the selected and the last weights, for each inference."""
        inferences = {}
        for name in trainee.inferences:
            last = trainee.classifier(name)
            chosen = self._final(load_classifier(folder.path, name).to(self.device), last.num_views)
            end = chosen if position.selected_epoch == epochs else self._final(last, last.num_views)
            inferences[name] = {"selected": chosen, "last": end}
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

    def _final(self, classifier: torch.nn.Module, num_views: int) -> dict[str, Any]:
        """Return all numbers of a classifier on the validation and test sets."""
        found = {}
        for split in ("validation", "test"):
            if getattr(self.images, split) is not None:
                evaluator = Accuracy(split, batch_size=self._rows(num_views), **self._judging())
                found[split] = evaluator(classifier, self.images)
        return found

    def _rows(self, num_views: int) -> int:
        """Images in a forward pass of an evaluation, such that views do not multiply its memory."""
        return max(16, max(32, 2 * self.config.optim.batch_size) // num_views)

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


def _given(value: float | None, otherwise: float | None) -> float | None:
    return otherwise if value is None else value


def _check_mixing(asked: MethodConfig, method: Method) -> None:
    if method.unlabelled_per_image and (asked.mixup or asked.cutmix or asked.adversarial != "none"):
        raise PretaskError(
            f"{asked.method} has images without labels in its batches, which mixup, cutmix and attacks need: "
            "leave these out"
        )


def _loss_options(asked: MethodConfig) -> LossOptions:
    return LossOptions(**{option.name: getattr(asked, option.name) for option in fields(LossOptions)})


def _gate_options(asked: MethodConfig) -> GateOptions:
    if len(asked.gate) != 1:
        raise PretaskError(
            f"one run has one gate, not {len(asked.gate)} ({', '.join(asked.gate)}): type --gate learned, "
            "or compare them with `pretask compare --gate …`"
        )
    return GateOptions(asked.gate[0], asked.gate_weights, asked.gate_floor, asked.gate_temperature)
