"""How a picture becomes what a model sees: in words for whoever prepares it, and as a part of the exported graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pretask.data.fitting import as_evaluated
from pretask.methods import ModelCard

_RED, _GREEN, _BLUE = 19595, 38470, 7471
"""Weights of the luma of ITU-R 601-2, of 65536, as Pillow has them."""

_PRECISION = 2**22
"""Parts of 1 in which Pillow counts weights; where values lie halfway between two, these decide."""


def preparation(card: ModelCard, inside: bool) -> dict[str, Any]:
    """Return what has to be done to a picture, as `model.json` and ONNX metadata state it.

    Args:
        card: the model's.
        inside: whether the exported graph does it, from the pixels on.
    """
    framing = as_evaluated(card.image_size)
    height, width = card.image_size
    return {
        "inside_model": inside,
        "input": "uint8 [H, W, 3], RGB, any H and W"
        if inside
        else f"float32 [B, {card.channels}, {height}, {width}] in [0, 1]",
        "decode": "whole, first frame, turned upright by EXIF orientation, deep grey brought to 8 bits, transparency "
        "laid on white",
        "colour": "RGB" if card.channels == 3 else "grey, luma of ITU-R 601-2",
        "unchanged": f"pictures of {height}x{width}",
        "resize": "to cover, keeping the shape",
        "resize_to": list(framing.cover),
        "filter": "bilinear, antialiased, as Pillow's BILINEAR: along rows, then along columns, rounded to 0 … 255",
        "crop": "centre",
        "crop_to": [height, width],
        "values": "divided by 255",
        "channel_order": "red, green, blue" if card.channels == 3 else "one",
        "layout": "batch, channels, height, width",
        "mean": list(card.mean),
        "std": list(card.std),
        "normalised": "by mean and std, inside the model",
    }


def takes_pictures(card: ModelCard) -> bool:
    """Whether the model of this card takes a picture of any size, uint8 [H, W, 3]."""
    return card.preparation.get("inside_model") is True


def fitted(picture: Tensor, card: ModelCard) -> Tensor:
    """Return what the classifier is shown of a picture uint8 [H, W, 3]: [1, C, H, W] in [0, 1]."""
    image = Image.fromarray(picture.numpy()).convert("L" if card.channels == 1 else "RGB")
    pixels = np.array(as_evaluated(card.image_size).picture(image)).reshape(*card.image_size, card.channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def example_pictures(card: ModelCard) -> list[Tensor]:
    """Return pictures uint8 [H, W, 3], always the same: larger, smaller and of the model's size, and a strip."""
    height, width = card.image_size
    draws = torch.Generator().manual_seed(0)
    sizes = ((3 * height + 1, 4 * width), (height // 2 + 2, width), (height, width), (2, 9 * width))
    return [torch.randint(256, (*size, 3), dtype=torch.uint8, generator=draws) for size in sizes]


class WithPreparation(nn.Module):
    """A classifier of pictures of any size: uint8 [H, W, 3], RGB and upright → logits [1, N].

    What `Framing` does by Pillow, as two products with matrices of weights, so that every runtime gives the same
    values. Weights are made for what is left after the cut alone: the cost follows the picture, not its shape.
    """

    def __init__(self, classifier: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.classifier = classifier
        self.grey = card.channels == 1
        self.framing = as_evaluated(card.image_size)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [1, N]."""
        pixels = image.permute(2, 0, 1).float()
        if self.grey:
            red, green, blue = pixels
            # Exact in single precision: no sum is above 2**24.
            pixels = ((red * _RED + green * _GREEN + blue * _BLUE + 0x8000) / 0x10000).floor()[None]
        height, width = (torch.scalar_tensor(side, dtype=torch.int64) for side in image.shape[:2])
        (high, wide), (to_height, to_width) = self.framing.cover, self.framing.size
        upright = high * width >= wide * height
        resized = (
            torch.where(upright, high, wide * height // width),
            torch.where(upright, high * width // height, wide),
        )
        same = torch.logical_and(height == to_height, width == to_width)
        along = _weights(image.shape[0], height, resized[0], (high, to_height), same)
        across = _weights(image.shape[1], width, resized[1], (wide, to_width), same)
        rows = _rounded(pixels @ across.transpose(0, 1))
        logits: Tensor = self.classifier(_rounded(along @ rows)[None] / 255)
        return logits


class OfImages(nn.Module):
    """A model of pictures as one of images of its size: [B, C, H, W] in [0, 1] → logits [B, N].

    Args:
        model: uint8 [H, W, 3] → logits [1, N]; it leaves pictures of its size as they are.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        pictures = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
        return torch.cat([self.model(picture.contiguous()) for picture in pictures])


def _weights(count: int, given: Tensor, resized: Tensor, cuts: tuple[int, int], same: Tensor) -> Tensor:
    """Return how `count` pixels make up those in the middle of what they are resized to: [wanted, count].

    Args:
        count: pixels in a row or column.
        given, resized: scalars, that number and what it is resized to.
        cuts: pixels in the middle that are kept first, and of these in the end.
        same: whether nothing is to be changed.
    """
    first, wanted = cuts
    scale = torch.where(same, 1.0, given.double() / resized)
    start = ((resized - first).double() / 2).round() + round((first - wanted) / 2)
    start = torch.where(same, 0.0, start)
    centres = (torch.arange(wanted, dtype=torch.float64) + 0.5 + start) * scale
    places = torch.arange(count, dtype=torch.float64) + 0.5
    weights = (1 - (places[None] - centres[:, None]).abs() / scale.clamp(min=1)).clamp(min=0)
    shares = weights / weights.sum(dim=1, keepdim=True)
    return ((shares * _PRECISION).round() / _PRECISION).float()


def _rounded(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255)
