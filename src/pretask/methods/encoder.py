"""From images to pooled features, on the way of which pretexts change the image or a feature map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from pretask.backbones import Backbone
from pretask.backbones.base import Change
from pretask.backbones.layers import map_shape, share_after, through_layer
from pretask.errors import PretaskError
from pretask.pretexts import Pretext, split_domains
from pretask.pretexts.base import repeat_samples

R = TypeVar("R")


class Normalize(nn.Module):
    """(x - mean) / std per channel, for images [B, C, H, W] in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # A channel that never varies carries nothing; dividing by its spread would carry noise.
        scale = [s if s > 1e-6 else 1.0 for s in std]
        self._moments = tuple(mean), tuple(scale)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(scale).view(-1, 1, 1), persistent=False)

    def tell(self, pretexts: Iterable[Pretext]) -> None:
        """Say to pretexts how the images that they change are normalised."""
        for pretext in pretexts:
            pretext.set_moments(*self._moments)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised images, same shape and memory format."""
        if images.device.type == "cpu" and images.is_contiguous(memory_format=torch.channels_last):
            return self._in_lines(images)
        return (images - self.mean) / self.std

    def _in_lines(self, images: Tensor) -> Tensor:
        """Normalise lines of pixels at once: CPUs are slow where only the channels lie side by side."""
        C, W = images.shape[1], images.shape[3]
        lines = images.permute(0, 2, 3, 1).flatten(2)
        out: Tensor = (lines - self.mean.flatten().repeat(W)) / self.std.flatten().repeat(W)
        return out.view(*lines.shape[:2], W, C).permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """A backbone with the views of image pretexts, feature pretexts, or products of both.

    With M₁ changes of the image and M₂ of the features there are M = M₁·M₂ views, image-major: view label
    m = m₁·M₂ + m₂. Feature pretexts act on the pooled features, or on the output of a named layer, after which
    the rest of the network runs on every view.

    Args:
        backbone: normalised images → features [B, D].
        normalize: from [0, 1] to what the backbone expects.
        pretexts: of images and features; several make a product. Without any there is one view.
        layer: where feature pretexts act, a name of `backbone.named_modules()`; None is the end.

    Raises:
        PretaskError: a layer without a feature pretext, one that does not exist or has no feature map, or a map
            that the pretext cannot have.
    """

    def __init__(
        self,
        backbone: Backbone,
        normalize: Normalize,
        pretexts: Sequence[Pretext] = (),
        layer: str | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.normalize, self.layer = backbone, normalize, layer
        self.pretexts = tuple(pretexts)
        normalize.tell(self.pretexts)
        self._beside: Tensor | None = None
        self._features_beside: Tensor | None = None
        self.image_pretext, self.feature_pretext = split_domains(pretexts)
        self.image_views = self.image_pretext.num_labels if self.image_pretext else 1
        self.feature_views = self.feature_pretext.num_labels if self.feature_pretext else 1
        self.num_labels = self.image_views * self.feature_views
        if self.feature_pretext is not None:
            prepare_features(self.feature_pretext, backbone, layer)
        elif layer is not None:
            raise PretaskError(
                f"--layer {layer} says where features are changed, but no pretext changes them: "
                "type --pretexts discard, or drop --layer"
            )

    @property
    def name(self) -> str | None:
        """The pretexts in the order of their labels, or None."""
        parts = [p.name for p in (self.image_pretext, self.feature_pretext) if p is not None]
        return "+".join(parts) or None

    @property
    def stochastic(self) -> bool:
        """Whether two calls give different views of one image, which answers must not be averaged over."""
        return self.image_pretext is not None and self.image_pretext.stochastic

    @property
    def needs_map(self) -> bool:
        """Whether features are changed before they are pooled."""
        return self.feature_pretext is not None and self.feature_pretext.needs_map

    @property
    def first_is_plain(self) -> bool:
        """Whether view 0 is the image as it is: so it is unless features are changed without an identity."""
        return self.feature_pretext is None or self.feature_pretext.has_identity

    def forward(self, images: Tensor) -> Tensor:
        """Return the features [B, D] of images [B, C, H, W] in [0, 1] as they are."""
        return self.changed(images, None)

    def embed(self, images: Tensor) -> Tensor:
        """Return the features [B, D] of images [B, C, H, W] in [0, 1], under the name a classifier has for it."""
        features: Tensor = self(images)
        return features

    def views(self, images: Tensor) -> Tensor:
        """Return the features of every view, sample-major [B·M, D]."""
        return self.changed(
            self._image_views(images), self.feature_pretext.views if self.feature_pretext else None
        )

    def views_and_plain(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of every view [B·M, D] and of the images as they are [B, D].

        Both come from one pass, unless features are changed before the end of the network.
        """
        if self.first_is_plain:
            features = self.views(images)
            return features, features[:: self.num_labels]
        if self.layer is not None or self.feature_pretext is None:
            return self.views(images), self(images)
        masked = self.feature_pretext.views
        features = self.changed(
            self._image_views(images), lambda last: torch.cat((masked(last), last[:: self.image_views]))
        )
        count = len(images) * self.num_labels
        return features[:count], features[count:]

    def transform(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the features [n, D] of one view of each image, by its label [n] in 0 … M-1."""
        if self.image_pretext is not None:
            images = self.image_pretext.transform(images, labels // self.feature_views)
        return self.changed(images, self._masking(labels % self.feature_views))

    def drawn_views(self, images: Tensor, count: int, with_first: bool = False) -> tuple[Tensor, Tensor]:
        """Return `count` views of each image, drawn without repeats: features [B·count, D] and labels [B·count].

        Args:
            images: [B, C, H, W] in [0, 1].
            count: 1 … M.
            with_first: view 0 is the first of each image, only the others are drawn.
        """
        places = torch.rand(len(images), self.num_labels, device=images.device)
        if with_first:
            places[:, 0] = -1
        labels = places.argsort(dim=1)[:, :count].flatten()
        if self.image_pretext is not None:
            return self.transform(repeat_samples(images, count), labels), labels
        change = self._masking(labels)
        return self.changed(images, lambda x: change(repeat_samples(x, count)) if change else x), labels

    def changed(self, images: Tensor, change: Change | None) -> Tensor:
        """Return the features of images after `change` of the pooled features, the last map, or a layer's output.

        Args:
            images: [B, C, H, W] in [0, 1].
            change: of features [B, D] or maps [B, C, h, w]; it may return several rows for each.
        """
        x, beside, self._beside = self.normalize(images), self._beside, None
        if beside is None:
            return self._through(x, change)
        count = len(x)

        def change_own(last: Tensor) -> Tensor:
            return last if change is None else torch.cat((change(last[:count]), last[count:]))

        features = self._through(
            torch.cat((x, self.normalize(beside))), None if change is None else change_own
        )
        own = len(features) - len(beside)
        self._features_beside = features[own:]
        return features[:own]

    def with_beside(self, images: Tensor, act: Callable[[], R]) -> tuple[R, Tensor]:
        """Call `act`, and take other images through the network in the first pass that it makes.

        All images of a pass share their batch statistics.

        Args:
            images: [n, C, H, W] in [0, 1], which no pretext changes.
            act: calls this encoder.

        Returns:
            what `act` returns, and the features [n, D] of the images.
        """
        self._beside = images
        result = act()
        features, self._features_beside = self._features_beside, None
        assert features is not None, "nothing was encoded"
        return result, features

    def _through(self, x: Tensor, change: Change | None) -> Tensor:
        if change is None:
            features: Tensor = self.backbone(x)
            return features
        if self.layer is not None:
            return through_layer(self.backbone, self.layer, change, x)
        return self._end(change(self._before_end(x)))

    def passes(self, views: int | None = None) -> float:
        """Return what `views` views (None: all) of an image cost, in passes through the whole backbone."""
        if self.feature_pretext is None:
            return float(self.num_labels if views is None else views)
        if views is None or self.image_pretext is None:
            rows = self.feature_views if views is None else views
            return self.image_views * (1 + (rows - 1) * share_after(self.backbone, self.layer))
        return float(views)

    def _image_views(self, images: Tensor) -> Tensor:
        return self.image_pretext.views(images) if self.image_pretext else images

    def _before_end(self, x: Tensor) -> Tensor:
        last: Tensor = self.backbone.feature_map(x) if self.needs_map else self.backbone(x)
        return last

    def _end(self, last: Tensor) -> Tensor:
        return self.backbone.pool_map(last) if self.needs_map else last

    def _masking(self, labels: Tensor) -> Change | None:
        pretext = self.feature_pretext
        return None if pretext is None else lambda x: pretext.transform(x, labels)


def prepare_features(pretext: Pretext, backbone: Backbone, layer: str | None) -> None:
    """Prepare a feature pretext for the number of channels that it will see.

    Raises:
        PretaskError: maps that the pretext cannot have.
    """
    if layer is None and not pretext.needs_map:
        channels, height, width = backbone.num_features, 1, 1
    else:
        channels, height, width = map_shape(backbone, layer)
    pretext.check(channels, height, width)
    pretext.prepare(channels)
