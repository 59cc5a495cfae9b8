"""The contract of a pretext task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Domain = Literal["image", "features"]
"""What a pretext changes: images, or features inside the network."""


class Pretext(nn.Module, ABC):
    """A finite family of M transformations t_0 … t_{M-1} of images or feature maps [B, C, H, W].

    The index of a transformation is its label. Images are transformed exactly: values are moved, never
    interpolated. Device, dtype and memory format are kept.

    Attributes:
        name: what the pretext is called in configurations, tables and model cards; `create_pretext(name)`
            makes it again. Options that differ from their defaults are part of it.
        num_labels: M, the number of transformations.
        domain: what is transformed: images, or features inside the network.
        has_identity: whether t_0 is the identity.
        needs_map: whether features must be a map [B, C, H, W], not pooled.
        stochastic: whether a label leaves something to chance, such as the place of a patch: two calls differ.
        hidden_by: parts of an augmentation recipe that make the same changes at random, so that the label
            cannot be read from the image.
        reconstruction: what is reconstructed of a paper that could not be read in full; model cards say so.
    """

    name: str
    num_labels: int
    domain: Domain = "image"
    has_identity: bool = True
    needs_map: bool = False
    stochastic: bool = False
    hidden_by: frozenset[str] = frozenset()
    reconstruction: str = ""

    @abstractmethod
    def transform(self, x: Tensor, labels: Tensor) -> Tensor:
        """Transform each sample by its own label.

        Args:
            x: images or feature maps [B, C, H, W], or pooled features [B, C] where the pretext takes them;
                left untouched.
            labels: int64 [B], each in 0 … M-1.

        Raises:
            PretaskError: the shape does not suit the pretext.
        """

    @abstractmethod
    def label_names(self) -> list[str]:
        """Return a short name for each of the M transformations."""

    def check(self, channels: int, height: int, width: int) -> None:
        """Raise a `PretaskError` that names the shape where images (or maps) of it cannot be transformed.

        Args:
            channels: C.
            height, width: in pixels; pooled features are a map of height and width 1.
        """

    def prepare(self, channels: int) -> None:
        """Build what depends on the number of feature channels; call it once, before use and before `.to`.

        Raises:
            PretaskError: the pretext cannot work on so many channels.
            ValueError: it was prepared for another number.
        """

    def set_moments(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say by which mean and deviation of each channel images are normalised behind the pretext.

        It is for pretexts that change values as if these were normalised already.

        Args:
            mean, std: one value per channel, in [0, 1] units.
        """

    def views(self, x: Tensor) -> Tensor:
        """Return every version of every sample, sample-major.

        Args:
            x: [B, C, H, W], or [B, C] where the pretext takes pooled features.

        Returns:
            [B·M, …]: the M views of sample 0, then those of sample 1, …; view m of sample b stands at
            b·M + m, so that the joint label of class y and view m is y·M + m.
        """
        labels = torch.arange(self.num_labels, device=x.device).repeat(x.shape[0])
        return self.transform(repeat_samples(x, self.num_labels), labels)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Call `transform`."""
        return self.transform(x, labels)


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Return channels_last where that alone describes how `x` lies in memory, else contiguous."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format


def repeat_samples(x: Tensor, times: int) -> Tensor:
    """Return each sample of `x` [B, …] `times` times in a row, [B·times, …], in the same memory format."""
    return interleave([x] * times)


def interleave(versions: list[Tensor]) -> Tensor:
    """Fold M versions [B, …] of a batch into one, sample-major [B·M, …], keeping the first's memory format.

    Pixels are copied once: into the layout that is wanted.
    """
    if memory_format_of(versions[0]) is torch.channels_last:
        pixels = torch.stack([version.permute(0, 2, 3, 1) for version in versions], dim=1)
        return pixels.flatten(0, 1).permute(0, 3, 1, 2)
    return torch.stack(versions, dim=1).flatten(0, 1)
