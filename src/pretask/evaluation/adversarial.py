"""How often a classifier stays right when its images are changed, within a small ball, to make it err."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pretask.attacks import create_attack, in_255ths
from pretask.attacks.presets import Epsilon
from pretask.errors import PretaskError
from pretask.evaluation.base import EVALUATORS, Headline
from pretask.evaluation.predictions import SplitEvaluator, predict
from pretask.options import checking

if TYPE_CHECKING:
    from pretask.data.images.containers import ImageData
    from pretask.data.loaders.batches import Batch

SEED = 0

Perturbation = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""Classifier, images [B, C, H, W], labels [B] and places in the split [B] to adversarial images."""


@checking
class Robustness(SplitEvaluator):
    """Accuracy under attack. An image counts as robust where it is right both clean and attacked.

    What is wrong already is not attacked. Attacks run in float32 and see the classifier through its gradients;
    `precision` is for the answers alone.

    Args:
        split: and the other settings of `SplitEvaluator`.
        epsilon: radius of the ball in 255ths of the pixel range; None for what the name stands for.

    Raises:
        PretaskError: epsilon outside 0 … 255, or an unknown split.
    """

    name: str
    epsilon: float

    def __init__(
        self,
        split: str = "test",
        *,
        epsilon: Epsilon = None,
        **settings: Any,
    ) -> None:
        self._set_up(None if epsilon is None else epsilon / 255)
        super().__init__(split, **settings)

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return "clean_top1", "robust_top1", "epsilon" (in pixel values of [0, 1]) and "n".

        Raises:
            PretaskError: the data has no such split, the classifier has another number of classes, or it
                gives logits that are not finite.
        """
        clean = self.predictions(classifier, data)
        right = (clean.logits.argmax(1) == clean.labels).nonzero().flatten()
        robust = self._still_right(classifier, data, right) if len(right) else 0
        n = len(clean.labels)
        return {
            "clean_top1": len(right) / n,
            "robust_top1": robust / n,
            "epsilon": self.epsilon,
            "n": n,
        }

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return both shares of right answers, and the radius."""
        shares = ("clean", found["clean_top1"], "%"), ("robust", found["robust_top1"], "%")
        return [*shares, ("eps", in_255ths(found["epsilon"])), ("n", found["n"])]

    def _still_right(self, classifier: nn.Module, data: ImageData, places: Tensor) -> int:
        perturb = self._perturbation(classifier, data)

        def attack(batch: Batch) -> Tensor:
            real, images = batch.labels >= 0, batch.images.clone()
            if real.any():
                of_split = places[batch.index[real].cpu()]
                with torch.autocast(images.device.type, enabled=False):
                    images[real] = perturb(classifier, images[real], batch.labels[real], of_split)
            return images

        with closing(self.loader(classifier, self.images(data).subset(places), data)) as loader:
            predictions = predict(classifier, loader, precision=self.precision, change=attack)
        return int((predictions.logits.argmax(1) == predictions.labels).sum())

    @abstractmethod
    def _set_up(self, epsilon: float | None) -> None: ...

    @abstractmethod
    def _perturbation(self, classifier: nn.Module, data: ImageData) -> Perturbation: ...


class GradientAttack(Robustness):
    """Accuracy under the attack of `pretask.attacks` that has the evaluator's name."""

    def constants(self) -> str:
        start = f"start from seed {SEED} + place in the split, " if self._attack.random_start else ""
        return (
            f"{self.name}/1: {self._attack.describe()}, cross-entropy, pixels in [0, 1], float32, {start}"
            "robust where right clean and attacked"
        )

    def _set_up(self, epsilon: float | None) -> None:
        self._attack = create_attack(self.name, epsilon)
        self.epsilon = self._attack.epsilon

    def _perturbation(self, classifier: nn.Module, data: ImageData) -> Perturbation:
        def perturb(model: nn.Module, images: Tensor, labels: Tensor, places: Tensor) -> Tensor:
            generators = [torch.Generator().manual_seed(SEED + place) for place in places.tolist()]
            return self._attack(model, images, labels, generators)

        return perturb


@EVALUATORS.register("fgsm")
class FGSM(GradientAttack):
    """Accuracy under one signed gradient step of ε = 8/255."""

    name = "fgsm"


@EVALUATORS.register("pgd20")
class PGD20(GradientAttack):
    """Accuracy under 20 steps of projected gradient ascent of 2/255, L∞ ε = 8/255."""

    name = "pgd20"


@EVALUATORS.register("pgd100")
class PGD100(GradientAttack):
    """Accuracy under 100 steps of projected gradient ascent of 0.3/255, L∞ ε = 8/255."""

    name = "pgd100"


@EVALUATORS.register("pgd20-l2")
class PGD20L2(GradientAttack):
    """Accuracy under 20 steps of projected gradient ascent of 15/255, L2 ε = 128/255."""

    name = "pgd20-l2"


@EVALUATORS.register("autoattack")
class AutoAttack(Robustness):
    """Accuracy under standard AutoAttack, L∞ ε = 8/255; needs its authors' package.

    Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks", ICML 2020.

    Raises:
        PretaskError: the package is not installed; in a call, fewer than 4 classes.
    """

    name = "autoattack"

    def constants(self) -> str:
        return (
            f"{self.name}/1: standard version (APGD-CE, APGD-T, FAB-T, Square) Linf eps {in_255ths(self.epsilon)}, "
            f"at most 9 target classes, pixels in [0, 1], float32, seed {SEED} for each batch "
            f"(its draws depend on the batch size), robust where right clean and attacked"
        )

    def _set_up(self, epsilon: float | None) -> None:
        self._package = _autoattack()
        self.epsilon = create_attack("fgsm", epsilon).epsilon

    def _perturbation(self, classifier: nn.Module, data: ImageData) -> Perturbation:
        if data.num_classes < 4:
            raise PretaskError(
                f"standard AutoAttack compares four logits and the data set '{data.name}' has "
                f"{data.num_classes} classes: type --protocol pgd100"
            )

        def perturb(model: nn.Module, images: Tensor, labels: Tensor, places: Tensor) -> Tensor:
            where = images.device
            with torch.random.fork_rng([where] if where.type == "cuda" else []):
                attack = self._package.AutoAttack(
                    model,
                    norm="Linf",
                    eps=self.epsilon,
                    version="standard",
                    device=where,
                    seed=SEED,
                    verbose=False,
                )
                for part in (attack.apgd_targeted, attack.fab):
                    part.n_target_classes = min(9, data.num_classes - 1)
                changed: Tensor = attack.run_standard_evaluation(images, labels, bs=len(images))
            return changed.detach()

        return perturb


def _autoattack() -> Any:
    try:
        return importlib.import_module("autoattack")
    except ModuleNotFoundError as error:
        if error.name != "autoattack":
            raise
        raise PretaskError(
            "the protocol autoattack needs the package autoattack from its authors' repository: type "
            "`pip install git+https://github.com/fra31/auto-attack`"
        ) from None
