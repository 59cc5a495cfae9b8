"""What aggregated answers are held against at the same cost: ten crops of an image, and several independent networks.

Lee, Hwang, Shin, ICML 2020, arXiv 1910.05872, compare with both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.data.images.contents import copies_of
from pretask.data.loaders.augmentation import get_augmentation, padding
from pretask.errors import PretaskError
from pretask.evaluation.accuracy import Accuracy
from pretask.evaluation.base import EVALUATORS, Headline
from pretask.methods import load_classifier, read_card
from pretask.methods.classifier import Classifier
from pretask.training.run_folder import RunFolder

if TYPE_CHECKING:
    from pretask.data.images.containers import ImageData

LARGEST_SHIFTED = 64
"""Side up to which crops shift over zeros, as `recommended_augment` has it; larger images are cut and enlarged."""


class MeanAnswer(nn.Module):
    """The mean of several answers' probabilities, as their logarithm: images [B, C, H, W] → [B, N]."""

    def __init__(self, classifiers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities."""
        return _mean([classifier(images) for classifier in self.classifiers])


class CroppedAnswer(nn.Module):
    """The mean answer to crops at the corners and in the middle, mirrored too where images may be.

    Args:
        classifier: images [B, C, H, W] to logits [B, N].
        mirrored: whether each crop counts twice, once mirrored left to right.
    """

    def __init__(self, classifier: nn.Module, mirrored: bool) -> None:
        super().__init__()
        self.classifier, self.mirrored = classifier, mirrored

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities; see `MeanAnswer`."""
        views = corner_crops(images)
        if self.mirrored:
            views += [view.flip(3) for view in views]
        return _mean([self.classifier(view) for view in views])


def corner_crops(images: Tensor) -> list[Tensor]:
    """Return five crops of images [B, C, H, W], each of the images' size: four corners and the middle.

    Images up to 64 pixels are shifted by an eighth of their side over zeros, as in training; from larger ones, seven
    eighths of each side are cut out and enlarged.
    """
    height, width = images.shape[-2:]
    down, right = padding((height, width))
    if max(height, width) <= LARGEST_SHIFTED:
        wide = F.pad(images, (right, right, down, down))
        steps, size = (2 * down, 2 * right), (height, width)
    else:
        wide, steps, size = images, (down, right), (height - down, width - right)
    corners = [(top, left) for top in (0, steps[0]) for left in (0, steps[1])]
    crops = [
        wide[..., top : top + size[0], left : left + size[1]]
        for top, left in (*corners, (steps[0] // 2, steps[1] // 2))
    ]
    if size == (height, width):
        return crops
    return [F.interpolate(crop, (height, width), mode="bilinear", align_corners=False) for crop in crops]


def _mean(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([one.float().softmax(1) for one in logits]).mean(0).clamp_min(1e-12).log()


@EVALUATORS.register("ten-crop")
class TenCrop(Accuracy):
    """Accuracy of the mean answer to ten crops, ten passes an image; five where images must not be mirrored."""

    name = "ten-crop"

    def constants(self) -> str:
        return (
            f"ten-crop/1: mean softmax of corners and middle (shifted by 1/8 over zeros to {LARGEST_SHIFTED} pixels, "
            f"else 7/8 enlarged), mirrored too where the data may be; {super().constants()}"
        )

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return what `Accuracy` does, and "views", the crops of an image."""
        mirrored = get_augmentation(data.augment).flip
        found = super().__call__(CroppedAnswer(classifier, mirrored), data)
        return {**found, "views": 10 if mirrored else 5}

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return what `Accuracy` does, and the number of crops."""
        return [*super().headline(found), ("crops", found["views"])]


@EVALUATORS.register("ensemble")
class Ensemble(Accuracy):
    """Accuracy of the mean answer of this run and others, as of several seeds.

    Args:
        split: and the other settings of `Accuracy`.
        members: folders of the other runs; each answers in the same way as this one.
    """

    name = "ensemble"

    def __init__(
        self,
        split: str = "test",
        *,
        members: Annotated[
            tuple[str, ...], "folders of the other runs, as in ensemble:members=runs/a,runs/b"
        ] = (),
        **settings: Any,
    ) -> None:
        self.members = members
        super().__init__(split, **settings)
        if not members:
            raise PretaskError("an ensemble needs other runs: type --protocol ensemble:members=runs/a,runs/b")

    def constants(self) -> str:
        return f"ensemble/1: mean softmax of {1 + len(self.members)} networks; {super().constants()}"

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return what `Accuracy` does, and "networks", how many there are.

        Raises:
            PretaskError: see `Accuracy`; a member that is no run, has other classes, does not answer in this way, or
                has learned from images of this split.
        """
        device = next(classifier.parameters()).device
        others = [self._member(Path(folder), classifier, data).to(device) for folder in self.members]
        return {**super().__call__(MeanAnswer([classifier, *others]), data), "networks": 1 + len(others)}

    def _member(self, folder: Path, classifier: nn.Module, data: ImageData) -> Classifier:
        card, reading = read_card(folder), getattr(classifier, "reading", "plain")
        if card.class_names != data.class_names or card.image_size != data.image_size:
            raise PretaskError(
                f"{folder} cannot be asked beside this run, it has other classes or another image size: "
                "give runs on the same data"
            )
        ways = [name for name, way in card.inferences.items() if way["reading"] == reading]
        if not ways:
            raise PretaskError(
                f"{folder} does not answer as this run does ({', '.join(card.inferences)}): give runs of one method, "
                "or type --inference"
            )
        self._refuse_learned(folder, data)
        return load_classifier(folder, ways[0], card)

    def _refuse_learned(self, folder: Path, data: ImageData) -> None:
        """Refuse a member that has learned from images that it is judged by, as another seed's splits may have it."""
        run = RunFolder(folder)
        known = run.known_images() if run.begun else None
        if known is None or self.split == "train":
            return
        judged = self.images(data)
        if copies := copies_of(judged.known_contents(), known.parts["train"].contents):
            raise PretaskError(
                f"{copies:,} of {len(judged):,} {self.split} images are train images of {folder}: train all members "
                "with the same --split-seed"
            )

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return what `Accuracy` does, and the number of networks."""
        return [*super().headline(found), ("networks", found["networks"])]
