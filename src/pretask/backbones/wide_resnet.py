"""Wide residual networks, WRN-depth-width (Zagoruyko and Komodakis 2016, arXiv 1605.07146)."""

from __future__ import annotations

import re

from torch import Tensor, nn
from torch.nn import functional as F

from pretask.backbones.base import FAMILIES, Backbone, Family, Request, initialise
from pretask.backbones.stem import Stem, stem_convolution, stem_for, stem_pool
from pretask.errors import PretaskError

_NAME = re.compile(r"wrn-(\d{1,4})-(\d{1,4})")
_MOST_WEIGHTS = 500e6


class WideBlock(nn.Module):
    """Pre-activation block: batch norm, ReLU and 3×3 convolution, twice; dropout between the convolutions.

    [B, C, H, W] → [B, out, H/s, W/s]. Where the shape changes, the shortcut is a 1×1 convolution of the
    activated input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        changes_shape = stride != 1 or in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if changes_shape else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        residual: Tensor = self.conv2(self.dropout(F.relu(self.bn2(self.conv1(activated)))))
        return residual + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(Backbone):
    """WRN of depth 6n+4 and width k: three stages of n blocks with 16k, 32k and 64k channels.

    Images [B, C, H, W] → features [B, 64k].
    """

    def __init__(
        self, depth: int, width: int, stem: Stem, in_channels: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = (16 * width, 32 * width, 64 * width)
        self.num_features = widths[-1]
        self.stem_words = stem.words
        self.conv = stem_convolution(stem, in_channels, 16)
        self.pool = stem_pool(stem)
        blocks = []
        width_in = 16
        for width_out, stride in zip(widths, stem.stages, strict=True):
            for index in range((depth - 4) // 6):
                blocks.append(WideBlock(width_in, width_out, stride if index == 0 else 1, dropout))
                width_in = width_out
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(self.num_features)
        self.relu = nn.ReLU()  # a layer, so that the last map has a name
        initialise(self)

    def feature_map(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to [B, 64k, h, w]."""
        features: Tensor = self.relu(self.bn(self.blocks(self.pool(self.conv(x)))))
        return features


def _depth_and_width(name: str) -> tuple[int, int]:
    match = _NAME.fullmatch(name)
    assert match is not None
    depth, width = int(match[1]), int(match[2])
    if depth < 10 or (depth - 4) % 6 or width < 1:
        nearest = max(10, 6 * round((depth - 4) / 6) + 4)
        raise PretaskError(
            f"unknown backbone '{name}': a wide ResNet's depth is 6n+4 (10, 16, 22, 28, …) and its width at "
            f"least 1; type wrn-{nearest}-{max(1, width)}"
        )
    per_block = 2 * 9 * sum((16 * 2**stage * width) ** 2 for stage in range(3))
    if (weights := per_block * (depth - 4) / 6) > _MOST_WEIGHTS:
        raise PretaskError(
            f"{name} would have about {weights / 1e6:,.0f} million weights, more than {_MOST_WEIGHTS / 1e6:.0f}: "
            "type a smaller depth or width, such as wrn-28-10"
        )
    return depth, width


def _build(request: Request) -> WideResNet:
    depth, width = _depth_and_width(request.name)
    return WideResNet(
        depth, width, stem_for(request.image_size, request.stem), request.in_channels, request.dropout
    )


FAMILIES.register("wide-resnet")(
    Family(
        "wide ResNets, wrn-depth-width with depth 6n+4",
        ("wrn-16-4", "wrn-16-8", "wrn-28-2", "wrn-28-10", "wrn-40-2"),
        matches=lambda name: _NAME.fullmatch(name) is not None,
        build=_build,
        has_dropout=True,
        has_stem=True,
    )
)
