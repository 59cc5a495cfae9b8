"""What a run header says about a backbone, measured on the network itself."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.func import functional_call

SMALLEST_MAP = 4
LARGEST_MAP = 14
_LIGHT = 2e12  # weights times pixels; a pass of fewer takes less than loading torch's compiler for one without storage


@dataclass(frozen=True)
class BackboneFacts:
    """Sizes of a backbone for one image size; maps and images are (height, width).

    Attributes:
        name: for `create_backbone`.
        num_parameters: weights, without a class head.
        stem: what stands before the first block, in words.
        final_map: of the last feature map.
        map_channels: its width; that of the features, save for the few timm models that have a layer between the two
            (MobileNetV3, VGG).
        num_features: D, width of the pooled features.
        in_channels, image_size: of the images.
        pretrained: whether weights are published ones, from timm or a file.
        mean, std: of the pixels that these were learned from, per channel; empty where they were drawn.
        interpolation: by which those images were resized; likewise.
        notes: what was found out on the way, in lines.
    """

    name: str
    num_parameters: int
    stem: str
    final_map: tuple[int, int]
    map_channels: int
    num_features: int
    in_channels: int
    image_size: tuple[int, int]
    pretrained: bool
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = ""
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return the facts in one line."""
        million = self.num_parameters / 1e6
        count = f"{million:.2f}" if million < 10 else f"{million:.1f}"
        origin = ", pretrained" if self.pretrained else ""
        features = "" if self.num_features == self.map_channels else f", {self.num_features} features"
        return (
            f"{self.name}: {count} M parameters{origin}, stem {self.stem}, "
            f"final map {_size(self.final_map)}x{self.map_channels}{features} "
            f"for {_size(self.image_size)}x{self.in_channels} input"
        )

    def warning(self) -> str | None:
        """Return what is wrong with a final map outside 4×4 … 14×14 and what to do, else None."""
        if min(self.final_map) < SMALLEST_MAP:
            fault, remedy = "smaller than 4x4", "larger images, or a backbone that shrinks them less"
        elif max(self.final_map) > LARGEST_MAP:
            fault, remedy = "larger than 14x14", "smaller images, or a backbone that shrinks them more"
        else:
            return None
        return (
            f"{self.name} ends in a {_size(self.final_map)} map for {_size(self.image_size)} images, "
            f"which is {fault}: consider {remedy}"
        )


def output_shapes(network: nn.Module, image_size: tuple[int, int], in_channels: int) -> list[tuple[int, ...]]:
    """Return the shapes of all tensors in `network`'s answer to one image.

    The pass runs in eval mode, so it draws no random numbers and leaves batch-norm statistics alone; that of a large
    network runs on weights without storage.
    """
    state = dict(chain(network.named_parameters(), network.named_buffers()))
    weights = sum(weight.numel() for weight in network.parameters())
    light = weights * image_size[0] * image_size[1] <= _LIGHT and "torch._dynamo" not in sys.modules
    if light and all(tensor.device.type == "cpu" for tensor in state.values()):
        dtype = next((weight.dtype for weight in network.parameters()), None)
        image = torch.zeros(1, in_channels, *image_size, dtype=dtype)
    else:
        state = {name: torch.empty_like(tensor, device="meta") for name, tensor in state.items()}
        image = torch.empty(1, in_channels, *image_size, device="meta")
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            answer = functional_call(network, state, (image,))
    finally:
        for module, training in modes:
            module.training = training
    return [tuple(part.shape) for part in ([answer] if isinstance(answer, Tensor) else answer)]


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
