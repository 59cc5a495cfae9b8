"""The contract of a backbone: images to features, with layers whose output can be tapped and changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from pretask.backbones.facts import BackboneFacts
from pretask.backbones.stem import StemChoice
from pretask.errors import PretaskError
from pretask.registry import Registry

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Normalisation:
    """What images were like when weights were learned.

    Attributes:
        mean, std: of pixels in [0, 1], per channel.
        interpolation: by which they were resized, as torchvision calls it.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    def of_channels(self, channels: int) -> Normalisation:
        """Return the same for images of other channels: grey has the mean over colours, more repeat them."""

        def fit(values: tuple[float, ...]) -> tuple[float, ...]:
            if channels == 1:
                return (sum(values) / len(values),)
            return tuple(values[channel % len(values)] for channel in range(channels))

        return Normalisation(fit(self.mean), fit(self.std), self.interpolation)


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")


class Tap:
    """Changes what one layer puts out, while `change` is set; otherwise the network is as it was.

    A forward hook, so that names of weights stay and `torch.compile` traces through it.

    Args:
        layer: the module whose output is to be changed.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.change: Change | None = None
        layer.register_forward_hook(self._hook)

    @contextmanager
    def changing(self, change: Change) -> Iterator[None]:
        """Change the layer's output by `change` in the block, and no longer."""
        self.change = change
        try:
            yield
        finally:
            self.change = None

    def _hook(self, layer: nn.Module, inputs: Any, output: Any) -> Any:
        return output if self.change is None else self.change(output)


def find_layer(network: nn.Module, layer: str, owner: str) -> nn.Module:
    """Return the module called `layer`, as `named_modules` has it.

    Raises:
        PretaskError: there is none; the message has the nearest names.
    """
    layers: dict[str, nn.Module] = {name: module for name, module in network.named_modules() if name}
    if layer in layers:
        return layers[layer]
    near = get_close_matches(layer, layers, n=4, cutoff=0.4) or list(dict(network.named_children()))
    raise PretaskError(f"{owner} has no layer '{layer}': type --layer with a name such as {', '.join(near)}")


class Backbone(nn.Module):
    """A network without its classifier: normalised images in, pooled features out.

    `facts` is filled in by `create_backbone`, `stem_words` and `num_features` by the family.
    """

    num_features: int
    stem_words: str
    facts: BackboneFacts
    channels_last_maps = False
    """whether layers put out [B, h, w, C] instead of [B, C, h, w]"""
    pools_map = True
    """whether features are pooled from a map of [B, C, h, w], not from tokens or a map of another layout"""

    def feature_map(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to the last feature map [B, D, h, w], before pooling."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to features [B, num_features]."""
        return self.pool_map(self.feature_map(x))

    def pool_map(self, maps: Tensor) -> Tensor:
        """Map the last feature map [B, D, h, w] to features [B, num_features]: here, its mean."""
        return maps.mean((2, 3))

    def tap(self, layer: str) -> Tap:
        """Return the place where the output of `layer` can be changed; the same one at each call.

        Raises:
            PretaskError: no such layer; the message has the nearest names.
        """
        taps: dict[str, Tap] = self.__dict__.setdefault("_taps", {})
        if layer not in taps:
            taps[layer] = Tap(find_layer(self.layer_root, layer, self.facts.name))
        return taps[layer]

    def normalisation(self) -> Normalisation:
        """Return what images of published weights of this network were normalised by: here, ImageNet's."""
        return IMAGENET

    def converted(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of other releases of this network under the names, and in the shapes, of `layer_root`."""
        return weights

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Return a function from names of weights to their layer, 0 … the last, as timm's models have it.

        A layer is a numbered block, or what is defined before, between or behind blocks; a norm belongs to the layer
        before it.

        Args:
            coarse: asks timm's models for larger layers; there are none here.
        """
        layers: dict[str, int] = {}
        last, blocks = "", 0
        for name, weight in self.named_parameters():
            block = re.match(r".*?\.\d+(?=\.)", name)
            here = block.group() if block else last if weight.dim() == 1 else ""
            blocks += here != last and bool(layers)
            layers[name], last = blocks, here
        return lambda name: layers[name]

    @property
    def layer_root(self) -> nn.Module:
        """The module whose `named_modules` are the layers that `tap` knows."""
        return self


@dataclass(frozen=True)
class Request:
    """What a family is asked to build; the fields are the arguments of `create_backbone`, see `create_backbone`."""

    name: str
    image_size: tuple[int, int]
    in_channels: int
    pretrained: bool = False
    dropout: float = 0.0
    keep_stem: bool = False
    stem: StemChoice = "auto"


@dataclass(frozen=True)
class Family:
    """Backbones that share a naming scheme.

    Attributes:
        words, examples: for listings.
        matches: whether a name is the family's.
        build: returns the randomly initialised, or pretrained, network.
        has_pretrained, has_dropout, has_stem: whether a request may ask for these.
        fallback: whether it is asked after all other families.
    """

    words: str
    examples: tuple[str, ...]
    matches: Callable[[str], bool]
    build: Callable[[Request], Backbone]
    has_pretrained: bool = False
    has_dropout: bool = False
    has_stem: bool = False
    fallback: bool = False


FAMILIES: Registry[Family] = Registry("backbone family", "pretask.backbones")
"""Families of networks by name."""


def initialise(network: nn.Module) -> None:
    """Draw the convolutions of `network` anew, and reset its batch norms.

    From the normal distribution of He et al., ICCV 2015 (arXiv 1502.01852), with the fan-out.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
