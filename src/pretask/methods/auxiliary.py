"""Pretext tasks beside classification: one changed view of each image, a head per task, a gate over their losses.

LoRot: Moon et al., ECCV 2022. G-SSL: Fuadi et al., arXiv 2301.05865.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.errors import PretaskError
from pretask.methods.base import (
    METHODS,
    Layer,
    Method,
    MethodParts,
    PretextScale,
    PretextWeight,
    accuracy,
    hard_labels,
    pretext_head,
)
from pretask.methods.classifier import Classifier
from pretask.methods.gate import create_gate
from pretask.options import Named
from pretask.pretexts import PatchPretext, Pretext, transform_shared


@METHODS.register("gssl")
class AuxiliaryTasks(Method):
    """L(u·z, y) + λ·Σ_t g_t·CE(v_t·z, l_t) on z = f(x'), x' changed by every task at once.

    Each task draws its label for each image; patch tasks change one patch that they share. The weights g_t are
    at least 0 and sum to 1 (G-SSL: Fuadi et al., arXiv 2301.05865; one task: LoRot, ECCV 2022). A clean image and
    the class head answer at test time.

    Raises:
        PretaskError: the same task twice.
    """

    default_pretexts: ClassVar[tuple[str, ...]] = ("lorot-e", "patch-flip", "patch-color")
    gated: ClassVar[bool] = True
    """False gives every task the weight one, so that T tasks weigh T·λ."""

    def __init__(
        self,
        parts: MethodParts,
        *,
        gate: Annotated[
            str, Named("pretask.methods.gate:GATES"), "how pretexts share the weight (pretask list gates)"
        ] = "learned",
        pretext_weight: PretextWeight = 0.1,
        pretext_scale: PretextScale = None,
        layer: Layer = None,
    ) -> None:
        tasks = self.pretexts_of(parts)
        features = [task for task in tasks if task.domain == "features"]
        super().__init__(parts, parts.encoder(features, layer))
        self.names = [task.name for task in tasks]
        if len(set(self.names)) < len(tasks):
            raise PretaskError(f"each task needs a head of its own, but {self.names} holds one twice")
        self.tasks = nn.ModuleList(tasks)
        self.encoder.normalize.tell(tasks)
        self.loss = parts.make_loss(parts.class_counts)
        self.head = parts.head(parts.num_classes, self.loss)
        self.task_heads = nn.ModuleList(
            pretext_head(parts, self.loss, task.num_labels, pretext_scale) for task in tasks
        )
        self.has_gate = self.gated and len(tasks) > 1
        self.gate_name = gate.partition(":")[0]
        self.gate = create_gate(gate if self.has_gate else "uniform", parts.backbone.num_features, len(tasks))
        self.pretext_weight = pretext_weight

    @property
    def pretexts(self) -> tuple[Pretext, ...]:
        """The tasks."""
        return tuple(task for task in self.tasks if isinstance(task, Pretext))

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the objective of one step; see `Method.forward`."""
        features, task_labels = self.embed_changed(images)
        logits = self.head(features)
        class_loss = self.loss(logits, labels).mean()
        task_logits = [head(features) for head in self.task_heads]
        task_losses = [F.cross_entropy(*pair) for pair in zip(task_logits, task_labels, strict=True)]
        weights = self.gate(features, lambda at: self._losses_at(at, labels, task_labels))
        parts = {
            "loss": class_loss + self.pretext_weight * self._weighed(weights, task_losses),
            "accuracy": accuracy(logits.detach().argmax(1), hard_labels(labels)),
            "classification_loss": class_loss.detach(),
        }
        for i, name in enumerate(self.names):
            parts[f"{name}_loss"] = task_losses[i].detach()
            parts[f"{name}_accuracy"] = accuracy(task_logits[i].detach().argmax(1), task_labels[i])
            if self.has_gate:
                parts[f"gate_{name}"] = weights[i].detach()
        return parts

    def embed_changed(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Change each image by every task, at labels drawn at random.

        Returns:
            features [B, D], and for each task the labels int64 [B].
        """
        labels: dict[str, Tensor] = {}
        tasks = self.pretexts
        for task in tasks:
            if task.domain == "image" and not isinstance(task, PatchPretext):
                labels[task.name] = drawn_labels(task, images)
                images = task.transform(images, labels[task.name])
        patches = [task for task in tasks if isinstance(task, PatchPretext)]
        if patches:
            images, patch_labels = transform_shared(patches, images)
            labels |= dict(zip((task.name for task in patches), patch_labels, strict=True))
        masks = [task for task in tasks if task.domain == "features"]
        labels |= {task.name: drawn_labels(task, images) for task in masks}

        def mask(x: Tensor) -> Tensor:
            for task in masks:
                x = task.transform(x, labels[task.name])
            return x

        return self.encoder.changed(images, mask if masks else None), [labels[name] for name in self.names]

    def _losses_at(self, features: Tensor, labels: Tensor, task_labels: Sequence[Tensor]) -> list[Tensor]:
        class_loss = self.loss(self.head(features), labels).mean()
        pairs = zip(self.task_heads, task_labels, strict=True)
        return [class_loss, *(F.cross_entropy(head(features), wanted) for head, wanted in pairs)]

    def _weighed(self, weights: Tensor, losses: Sequence[Tensor]) -> Tensor:
        together = torch.stack(list(losses))
        if not self.gated:
            return together.sum()
        if self.gate.divides_by_chance:
            together = together / together.new_tensor([log(task.num_labels) for task in self.pretexts])
        return (weights * together).sum()

    def summary(self) -> str:
        """Return tasks, gate and total weight."""
        total = self.pretext_weight * (1 if self.gated else len(self.names))
        gate = f", gate {self.gate_name}" if self.has_gate else ""
        return f"tasks {', '.join(self.names)} of total weight {total:g}{gate}"

    def _classifier(self, inference: str) -> Classifier:
        return Classifier(self.plain, self.head)


def drawn_labels(task: Pretext, images: Tensor) -> Tensor:
    """Return a label for each image, drawn evenly: int64 [B]."""
    return torch.randint(task.num_labels, (len(images),), device=images.device)


@METHODS.register("lorot")
class LocalRotation(AuxiliaryTasks):
    """One quadrant is turned; the label says which and how far: LoRot-E (Moon et al., ECCV 2022)."""

    default_pretexts = ("lorot-e",)


@METHODS.register("lorot-i")
class LocalRotationAnywhere(AuxiliaryTasks):
    """One square patch anywhere is turned; the label says how far: LoRot-I (Moon et al., ECCV 2022)."""

    default_pretexts = ("lorot-i",)


@METHODS.register("gssl-flip")
class RotationAndFlip(AuxiliaryTasks):
    """G-SSL with rotation and flip."""

    default_pretexts = ("lorot-e", "patch-flip")


@METHODS.register("gssl-perm")
class RotationAndColor(AuxiliaryTasks):
    """G-SSL with rotation and channel permutation."""

    default_pretexts = ("lorot-e", "patch-color")


@METHODS.register("gssl-ungated")
class UngatedTasks(AuxiliaryTasks):
    """G-SSL without a gate: every task weighs λ, all of them T·λ. `gssl` with a uniform gate weighs λ in total."""

    gated = False
