"""ResNet-12, the usual network of few-shot learning, as in MetaOptNet (Lee et al. 2019, arXiv 1904.03758)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pretask.backbones.base import FAMILIES, Backbone, Family, Request, initialise
from pretask.backbones.facts import SMALLEST_MAP

WIDTHS = (64, 160, 320, 640)
SLOPE = 0.1


class Block(nn.Module):
    """Three 3×3 convolutions beside a 1×1 one, LeakyReLU, then a 2×2 max-pool and dropout.

    [B, C, H, W] → [B, out, H/2, W/2], or at the same size without the pool.
    """

    def __init__(self, in_channels: int, out_channels: int, pool: bool, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv3 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut_conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.shortcut_bn = nn.BatchNorm2d(out_channels)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        residual = F.leaky_relu(self.bn1(self.conv1(x)), SLOPE)
        residual = F.leaky_relu(self.bn2(self.conv2(residual)), SLOPE)
        residual = self.bn3(self.conv3(residual))
        out: Tensor = self.dropout(
            self.pool(F.leaky_relu(residual + self.shortcut_bn(self.shortcut_conv(x)), SLOPE))
        )
        return out


class ResNet12(Backbone):
    """Four blocks of 64, 160, 320 and 640 channels, without DropBlock.

    Images [B, C, H, W] → features [B, 640]. 84×84 images end in 5×5. A block pools only while at least 4×4
    is left: 32×32 images end in 4×4 (2×2 in the published networks).
    """

    def __init__(self, image_size: tuple[int, int], in_channels: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_features = WIDTHS[-1]
        blocks = []
        side, pools, width_in = min(image_size), 0, in_channels
        for width in WIDTHS:
            pool = side // 2 >= SMALLEST_MAP
            blocks.append(Block(width_in, width, pool, dropout))
            side, pools, width_in = side // 2 if pool else side, pools + pool, width
        self.blocks = nn.Sequential(*blocks)
        self.stem_words = f"3x3 stride 1, {pools} of {len(WIDTHS)} blocks pooled"
        initialise(self)

    def feature_map(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to [B, 640, h, w]."""
        features: Tensor = self.blocks(x)
        return features


def _build(request: Request) -> ResNet12:
    return ResNet12(request.image_size, request.in_channels, request.dropout)


FAMILIES.register("resnet12")(
    Family(
        "the few-shot ResNet-12",
        ("resnet12",),
        matches="resnet12".__eq__,
        build=_build,
        has_dropout=True,
    )
)
