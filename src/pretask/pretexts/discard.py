"""Discarded parts of a feature map, with the part as the label.

Channels: a reconstruction from the abstract of Yang et al., arXiv 2106.04921; regions: of its sibling, arXiv
2106.04922.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.options import at_least, between, one_of, options_of
from pretask.pretexts.base import Domain, Pretext, memory_format_of
from pretask.pretexts.factory import PRETEXTS
from pretask.specs import write_spec

Grouping = Literal["contiguous", "strided", "random"]
Fill = Literal["zero", "rescale", "mean"]
Keep = Annotated[bool, "keep one part alone, instead of dropping it"]
FillOption = Annotated[
    Fill, "what dropped features become: 0, 0 with the others scaled up, or their spatial mean"
]
Identity = Annotated[bool, "the untouched features as label 0"]


class Discard(Pretext):
    """One part of the features is dropped, or all but that one; which one is the label.

    Attributes:
        keep, fill: as given to the constructor.
        dropped_share: of the features, on average over labels, where parts are equal.
    """

    domain: Domain = "features"

    def __init__(self, parts: int, keep: bool, fill: Fill, identity: bool, **options: Any) -> None:
        super().__init__()
        one_of(f"fill of {self.name}", fill, Fill)
        self.keep, self.fill, self.has_identity = keep, fill, identity
        self.num_labels = parts + int(identity)
        self.dropped_share = (parts - 1 if keep else 1) / self.num_labels
        given = {**options, "keep": keep, "fill": fill, "identity": identity}
        self.name = write_spec(self.name, options_of(type(self)), given)

    @abstractmethod
    def _kept(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return what each of n labels keeps of a sample of `x`: bool, [n, …] broadcastable to [n, *x.shape[1:]]."""

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse means over a map of one position, which would discard nothing."""
        if self.fill == "mean" and height * width == 1:
            raise PretaskError(
                f"{self.name} needs a feature map to take means over, not pooled features ({channels} channels): "
                "leave out fill=mean, or discard at an earlier layer"
            )

    def transform(self, x: Tensor, labels: Tensor) -> Tensor:
        """Discard a part of each sample by its label; see `Pretext.transform`."""
        self._check(x)
        return self._fill(x, self._kept(x, labels)).contiguous(memory_format=memory_format_of(x))

    def views(self, x: Tensor) -> Tensor:
        """Return all versions, sample-major; see `Pretext.views`."""
        self._check(x)
        kept = self._kept(x, torch.arange(self.num_labels, device=x.device))
        versions = self._fill(x[:, None], kept).flatten(0, 1)
        return versions.contiguous(memory_format=memory_format_of(x))

    def label_names(self) -> list[str]:
        """Return what is missing, or what is left."""
        verb = "only" if self.keep else "without"
        return [*["everything"] * self.has_identity, *(f"{verb} {part}" for part in self._part_names())]

    @abstractmethod
    def _part_names(self) -> list[str]:
        """Return a name for each part."""

    def _check(self, x: Tensor) -> None:
        height, width = x.shape[2:] if x.dim() == 4 else (1, 1)
        self.check(x.shape[1], height, width)

    def _fill(self, x: Tensor, kept: Tensor) -> Tensor:
        if self.fill == "mean":
            return torch.where(kept, x, x.mean(dim=(-2, -1), keepdim=True))
        if self.fill == "rescale":
            positions = torch.full((), kept[0].numel(), dtype=torch.float32, device=x.device)
            scale = positions / kept.flatten(1).sum(dim=1)
            x = (x * scale.view(-1, *[1] * (kept.dim() - 1))).to(x.dtype)
        return torch.where(kept, x, x.new_zeros(()))


@PRETEXTS.register("discard")
class ChannelDiscard(Discard):
    """One of several fixed groups of channels dropped (Yang et al., arXiv 2106.04921; reconstructed).

    Call `prepare` before use. The groups are drawn once and stay in the state dict.

    Args:
        groups: M; as equal in size as can be, the larger ones first.
        grouping: neighbouring channels, every M-th channel, or a random choice.
        seed: of the random choice.
        keep: keep group j alone, instead of dropping it.
        fill: what dropped channels become: 0; 0 with the kept ones multiplied by C / kept; their spatial mean.
        identity: the untouched features as label 0, so that there are M + 1 labels.

    Attributes:
        masks: which channels each label keeps, bool [num_labels, C]; None before `prepare`.

    Raises:
        PretaskError: fewer than 2 groups, an unknown word, a seed that nothing uses.
    """

    name = "discard"
    reconstruction = (
        "discarded channels and their joint labels, from the abstract of Yang et al., arXiv 2106.04921"
    )
    masks: Tensor | None

    def __init__(
        self,
        groups: Annotated[int, at_least(2), "groups of channels"] = 4,
        grouping: Annotated[Grouping, "how channels are grouped"] = "contiguous",
        seed: Annotated[int, between(0, 2**63 - 1, "from 0 to 2^63 - 1"), "of a random grouping"] = 0,
        keep: Keep = False,
        fill: FillOption = "zero",
        identity: Identity = False,
    ) -> None:
        one_of("grouping of discard", grouping, Grouping)
        if seed and grouping != "random":
            raise PretaskError(
                f"seed={seed} does nothing with grouping={grouping}: type grouping=random, or no seed"
            )
        super().__init__(groups, keep, fill, identity, groups=groups, grouping=grouping, seed=seed)
        self.groups, self.grouping, self.seed = groups, grouping, seed
        self.register_buffer("masks", None)

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse features with fewer channels than groups."""
        super().check(channels, height, width)
        self._check_groups(channels)

    def _check_groups(self, channels: int) -> None:
        if channels < self.groups:
            raise PretaskError(
                f"{self.name} cannot make {self.groups} groups of {channels} channels: "
                f"type discard:groups={channels} or fewer"
            )

    def prepare(self, channels: int) -> None:
        """Draw the groups; see `Pretext.prepare`. Groups that are there, drawn or loaded, stay."""
        if self.masks is not None:
            if self.masks.shape[1] != channels:
                raise ValueError(f"discard was prepared for {self.masks.shape[1]} channels, not {channels}")
            return
        self._check_groups(channels)
        everything = torch.ones(int(self.has_identity), channels, dtype=torch.bool)
        in_group = self._group_of(channels) == torch.arange(self.groups)[:, None]
        self.masks = torch.cat([everything, in_group if self.keep else ~in_group])

    def _group_of(self, channels: int) -> Tensor:
        if self.grouping == "strided":
            return torch.arange(channels) % self.groups
        groups = bands(channels, self.groups)
        if self.grouping == "random":
            groups = groups[torch.randperm(channels, generator=torch.Generator().manual_seed(self.seed))]
        return groups

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        saved = state_dict.get(f"{prefix}masks")
        if self.masks is None and saved is not None and saved.dim() == 2:
            self.masks = torch.empty(self.num_labels, saved.shape[1], dtype=torch.bool, device=saved.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _kept(self, x: Tensor, labels: Tensor) -> Tensor:
        if self.masks is None or self.masks.shape[1] != x.shape[1]:
            raise ValueError(
                f"{self.name} is not prepared for {x.shape[1]} channels: call prepare({x.shape[1]}) first"
            )
        return self.masks[labels].view(labels.shape[0], x.shape[1], *[1] * (x.dim() - 2))

    def _part_names(self) -> list[str]:
        if self.masks is None:
            return [f"group {group}" for group in range(self.groups)]
        in_group = self.masks[self.has_identity :] == self.keep
        return [f"channels {_listed(row.nonzero().flatten().tolist())}" for row in in_group]


@PRETEXTS.register("discard-region")
class RegionDiscard(Discard):
    """One tile of the feature map dropped at every channel (after the sibling, arXiv 2106.04922; reconstructed).

    Args:
        grid: n of the n x n tiles, as equal in size as can be, the larger ones first, in reading order.
        keep: keep tile j alone, instead of dropping it.
        fill: what dropped positions become: 0; 0 with the kept ones multiplied by h·w / kept; the spatial mean
            of their channel.
        identity: the untouched features as label 0, so that there are n² + 1 labels.

    Raises:
        PretaskError: a grid below 2, an unknown word.
    """

    name = "discard-region"
    reconstruction = (
        "discarded regions and their joint labels, after the sibling of Yang et al., arXiv 2106.04922"
    )
    needs_map = True

    def __init__(
        self,
        grid: Annotated[int, at_least(2), "n of the n x n tiles"] = 2,
        keep: Keep = False,
        fill: FillOption = "zero",
        identity: Identity = False,
    ) -> None:
        super().__init__(grid**2, keep, fill, identity, grid=grid)
        self.grid = grid

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse maps that are smaller than the grid."""
        super().check(channels, height, width)
        if min(height, width) < self.grid:
            raise PretaskError(
                f"{self.name} cannot make {self.grid}x{self.grid} regions of a feature map of {height}x{width} "
                f"({channels} channels): discard at an earlier layer, where the map is larger"
            )

    def _kept(self, x: Tensor, labels: Tensor) -> Tensor:
        rows, columns = (bands(size, self.grid, x.device) for size in x.shape[-2:])
        region = rows[:, None] * self.grid + columns
        labels = labels[:, None, None, None]
        kept = region == labels - int(self.has_identity)
        kept = kept if self.keep else ~kept
        return kept | (labels == 0) if self.has_identity else kept

    def _part_names(self) -> list[str]:
        return [f"region {row},{column}" for row in range(self.grid) for column in range(self.grid)]


def bands(size: int, parts: int, device: torch.device | None = None) -> Tensor:
    """Return the part of each of `size` positions, int64 [size]: neighbours together, as `numpy.array_split` does."""
    quotient, larger = divmod(size, parts)
    position = torch.arange(size, device=device)
    border = larger * (quotient + 1)
    return torch.where(
        position < border, position // (quotient + 1), larger + (position - border) // max(quotient, 1)
    )


def _listed(channels: list[int]) -> str:
    first, last = channels[0], channels[-1]
    if last - first == len(channels) - 1:
        return f"{first}-{last}" if first < last else f"{first}"
    shown = ",".join(str(channel) for channel in channels[:3])
    return shown if len(channels) < 4 else f"{shown},…"
