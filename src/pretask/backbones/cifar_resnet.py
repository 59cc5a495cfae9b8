"""The CIFAR residual networks of He et al. 2016 (arXiv 1512.03385, section 4.2), with option-A shortcuts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pretask.backbones.base import FAMILIES, Backbone, Family, Request, initialise
from pretask.backbones.stem import Stem, stem_convolution, stem_for, stem_pool

DEPTHS = (8, 14, 20, 32, 44, 56, 110)
WIDTHS = (16, 32, 64)


def option_a_shortcut(x: Tensor, out_channels: int, stride: int) -> Tensor:
    """Return every `stride`-th pixel of x [B, C, H, W], with zero channels around to make `out_channels`.

    The paper leaves open where the zeros go. Half of them go before and half after, as in Y. Idelbayev's
    widely used code; either choice has no parameters and the same cost.
    """
    missing = out_channels - x.shape[1]
    # Means of one pixel: their gradient keeps the memory format, which that of a slice does not.
    pixels = F.avg_pool2d(x, 1, stride)
    return F.pad(pixels, (0, 0, 0, 0, missing // 2, missing - missing // 2))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, added to the shortcut: [B, C, H, W] → [B, out, H/s, W/s]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.out_channels = out_channels
        self.stride = stride
        self.keeps_shape = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        shortcut = x if self.keeps_shape else option_a_shortcut(x, self.out_channels, self.stride)
        residual += shortcut  # in place: sums of maps are bound by memory
        return F.relu(residual, inplace=True)


class CifarResNet(Backbone):
    """ResNet of depth 6n+2: three stages of n blocks with 16, 32 and 64 channels.

    Images [B, C, H, W] → features [B, 64].
    """

    def __init__(self, depth: int, stem: Stem, in_channels: int = 3) -> None:
        super().__init__()
        self.num_features = WIDTHS[-1]
        self.stem_words = stem.words
        self.conv = stem_convolution(stem, in_channels, WIDTHS[0])
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        self.pool = stem_pool(stem)
        blocks = []
        width_in = WIDTHS[0]
        for width, stride in zip(WIDTHS, stem.stages, strict=True):
            for index in range((depth - 2) // 6):
                blocks.append(BasicBlock(width_in, width, stride if index == 0 else 1))
                width_in = width
        self.blocks = nn.Sequential(*blocks)
        initialise(self)

    def feature_map(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to [B, 64, h, w]."""
        features: Tensor = self.blocks(self.pool(F.relu(self.bn(self.conv(x)), inplace=True)))
        return features


NAMES = tuple(f"resnet{depth}" for depth in DEPTHS)


def _build(request: Request) -> CifarResNet:
    depth = int(request.name.removeprefix("resnet"))
    return CifarResNet(depth, stem_for(request.image_size, request.stem), request.in_channels)


FAMILIES.register("cifar-resnet")(
    Family(
        "CIFAR ResNets, option-A shortcuts", NAMES, matches=NAMES.__contains__, build=_build, has_stem=True
    )
)
