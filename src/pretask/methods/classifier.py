"""What is saved, evaluated, explained, exported and deployed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pretask.backbones import Backbone
from pretask.losses import CosineLinear
from pretask.methods.encoder import Encoder, Normalize

Head = nn.Linear | CosineLinear
Reading = Literal["plain", "first", "mean", "joint", "columns"]
"""How a head answers:

plain: N outputs from the image as it is. first: N outputs from view 0. mean: N outputs, averaged over all views.
joint: N·M outputs, view j read in its own columns y·M + j, averaged over all views ("aggregated inference", Lee et
al. 2020, section 2.3). columns: N·K outputs from the image as it is, the K columns of each class averaged.
Logits are averaged, not probabilities.
"""


class Classifier(nn.Module):
    """Images in [0, 1] → logits over N classes.

    All views of an image go through the backbone as one batch.

    Args:
        encoder: images → features [B, D], of the plain image or of views.
        head: D → N, N·M or N·K, by `reading`.
        reading: see `Reading`.
        temperature: by which logits are divided, so that their softmax is calibrated.
    """

    def __init__(
        self, encoder: Encoder, head: Head, reading: Reading = "plain", temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.reading, self.temperature = encoder, head, reading, temperature

    @property
    def backbone(self) -> Backbone:
        """The network, shared with whatever else uses it."""
        return self.encoder.backbone

    @property
    def normalize(self) -> Normalize:
        """From [0, 1] to what the backbone was trained on."""
        return self.encoder.normalize

    @property
    def num_views(self) -> int:
        """Rows of the batch that one image becomes at the input of the backbone."""
        return self.encoder.image_views if self.reading in ("mean", "joint") else 1

    @property
    def num_classes(self) -> int:
        """N."""
        columns = {"joint": self.encoder.num_labels, "columns": self.encoder.feature_views}
        return self.head.out_features // columns.get(self.reading, 1)

    def embed(self, images: Tensor) -> Tensor:
        """Return the features [B, D] of the untransformed images [B, C, H, W] in [0, 1]."""
        features: Tensor = self.encoder(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, N] of images [B, C, H, W] in [0, 1]."""
        logits = self._answer(images)
        return logits if self.temperature == 1 else logits / self.temperature

    def _answer(self, images: Tensor) -> Tensor:
        encoder, batch = self.encoder, images.shape[0]  # a length would fix the batch of an exported program
        if self.reading == "plain":
            return self._logits(encoder(images))
        if self.reading == "columns":
            return self._logits(encoder(images)).reshape(batch, -1, encoder.feature_views).mean(dim=2)
        if self.reading == "first":
            return self._logits(encoder.transform(images, images.new_zeros(batch, dtype=torch.int64)))
        view_logits = self._logits(encoder.views(images)).reshape(batch, encoder.num_labels, -1)
        return aggregate_joint(view_logits) if self.reading == "joint" else view_logits.mean(dim=1)

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits


def aggregate_joint(view_logits: Tensor) -> Tensor:
    """Average the views' class logits, each read in its own columns.

    Args:
        view_logits: joint logits of all views [B, M, N·M].

    Returns:
        [B, N]: the mean over j of view_logits[:, j, j::M].
    """
    num_views = view_logits.shape[1]
    batch, _, columns = view_logits.shape
    by_class = view_logits.reshape(batch, num_views, columns // num_views, num_views)
    return by_class.diagonal(dim1=1, dim2=3).mean(dim=-1)


def aggregate_drawn(view_logits: Tensor, view_labels: Tensor, num_labels: int) -> Tensor:
    """Average the class logits of some of the views, each read in its own columns.

    Args:
        view_logits: joint logits of V views [B, V, N·M].
        view_labels: which views they are, int64 [B, V] in 0 … M-1.
        num_labels: M.

    Returns:
        [B, N]: the mean over v of view_logits[:, v, j_v::M]; with all views in order, what `aggregate_joint` gives.
    """
    batch, drawn, columns = view_logits.shape
    by_class = view_logits.reshape(batch, drawn, columns // num_labels, num_labels)
    own = view_labels[:, :, None, None].expand(-1, -1, by_class.shape[2], 1)
    return by_class.gather(3, own).squeeze(3).mean(dim=1)


def head_of_columns(head: Head, rows: Tensor) -> Head:
    """Return a head that puts out only the given outputs of another, its weights copied.

    Args:
        head: D → K.
        rows: int64 [k], which outputs, in their new order.
    """
    weight = head.weight.detach()[rows].clone()
    with torch.random.fork_rng(
        devices=()
    ):  # drawing weights that are replaced must not move the training's stream
        part: Head = (
            CosineLinear(head.in_features, len(rows), float(head.scale))
            if isinstance(head, CosineLinear)
            else nn.Linear(head.in_features, len(rows))
        )
    part.weight = nn.Parameter(weight)
    if isinstance(head, nn.Linear) and isinstance(part, nn.Linear):
        part.bias = nn.Parameter(head.bias.detach()[rows].clone())
    return part
