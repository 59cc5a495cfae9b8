"""What methods that see several views of an image have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.methods.base import Layer, Method, MethodParts
from pretask.options import DECIDED, at_least

Views = Annotated[int | None, at_least(1), DECIDED, "views of an image in a step; all where not given"]
BatchOf = Annotated[
    Literal["images", "views"],
    "what --batch-size counts",
]


class MultiViewMethod(Method):
    """Embeds all M views of each image, or k drawn at random, and leaves the use of the labels to `objective`.

    Args:
        parts: what the method is built from.
        views: k; None takes all M.
        view_reduction: of the losses of an image's views.
        batch_of: what the size of a batch counts; see `images_per_step`.
        layer: where pretexts of features act; see `Encoder`.

    Raises:
        PretaskError: k outside 1 … M.
    """

    default_pretexts: ClassVar[tuple[str, ...]] = ("rotation",)

    def __init__(
        self,
        parts: MethodParts,
        *,
        views: Views = None,
        view_reduction: Annotated[Literal["mean", "sum"], "of the losses of an image's views"] = "mean",
        batch_of: BatchOf = "images",
        layer: Layer = None,
    ) -> None:
        super().__init__(parts, parts.encoder(self.pretexts_of(parts), layer))
        total = self.encoder.num_labels
        if views is not None and views > total:
            raise PretaskError(
                f"{views} views were asked for, {self.encoder.name} has {total}: "
                f"type --views with 1 to {total}, or leave it out for all"
            )
        self.drawn = views if views is not None and views < total else None
        self.views_per_image = views or total
        self.image_views = min(self.encoder.image_views, self.views_per_image)
        self.passes_per_image = self.encoder.passes(self.drawn)
        self.view_reduction, self.batch_of = view_reduction, batch_of

    def images_per_step(self, batch_size: int) -> int:
        """Return how many images make a batch: the size, or its part for their views; see `Method.images_per_step`."""
        if self.batch_of == "images":
            return batch_size
        return max(1, batch_size // self.image_views)

    @abstractmethod
    def objective(self, features: Tensor, targets: Tensor, view_labels: Tensor) -> dict[str, Tensor]:
        """Return the loss and its parts.

        Args:
            features: of all views [B·V, D], sample-major.
            targets: int64 [B·V] or probabilities [B·V, N], each image's repeated for its views.
            view_labels: int64 [B·V], the pretext label of each view.
        """

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the objective of one step; see `Method.forward`."""
        features, view_labels = self.embed_views(images)
        return self.objective(features, labels.repeat_interleave(self.views_per_image, dim=0), view_labels)

    def embed_views(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features [B·V, D] of a step's views, sample-major, and their labels int64 [B·V]."""
        if self.drawn is not None:
            return self.encoder.drawn_views(images, self.drawn)
        return self.encoder.views(images), self.all_labels(images)

    def all_labels(self, images: Tensor) -> Tensor:
        """Return the labels of all views of a batch, sample-major int64 [B·M]."""
        return torch.arange(self.encoder.num_labels, device=images.device).repeat(len(images))

    def reduce_views(self, losses: Tensor) -> Tensor:
        """Reduce losses [B·V] to a scalar: mean over images of the mean (or sum) over views."""
        return losses.mean() * (self.views_per_image if self.view_reduction == "sum" else 1)

    def summary(self) -> str:
        """Return the pretext and how many of its views a step sees."""
        where = f" at {self.encoder.layer}" if self.encoder.layer else ""
        return (
            f"pretext {self.encoder.name}{where}, {self.views_per_image} of {self.encoder.num_labels} views"
        )
