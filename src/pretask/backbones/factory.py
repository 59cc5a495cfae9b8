"""Backbones by name: the one door through which the rest of the library gets a network."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path

from torch import Tensor, nn

from pretask.backbones.base import FAMILIES, Backbone, Family, Request
from pretask.backbones.facts import BackboneFacts, output_shapes
from pretask.backbones.stem import StemChoice, stem_of_its_own
from pretask.backbones.weights import load_weights
from pretask.errors import PretaskError

LARGEST_SMALL_IMAGE = 128


def create_backbone(
    name: str,
    *,
    image_size: tuple[int, int],
    in_channels: int = 3,
    pretrained: bool = False,
    dropout: float = 0.0,
    weights: Path | str | None = None,
    keep_stem: bool = False,
    stem: StemChoice = "auto",
) -> Backbone:
    """Return a network without its classifier, with its `facts` filled in.

    Its weights depend on `torch.manual_seed` alone.

    >>> create_backbone("resnet20", image_size=(32, 32)).facts.final_map
    (8, 8)

    Args:
        name: one of `backbone_names()`, or "auto"; see `resolve_backbone_name`.
        image_size: (height, width) of the images; the stem follows it.
        in_channels: of the images.
        pretrained: take timm's published weights, for which the network is needed once.
        dropout: 0 ≤ p < 1, for wide ResNets and ResNet-12.
        weights: a file with weights of the network, .safetensors or a state dict that torch has saved.
        keep_stem: give timm's ResNets, for small images too, the kernel that published weights have, as `pretrained`
            and `weights` do.
        stem: for ResNets; see `pretask.backbones.stem.stem_for`.

    Raises:
        PretaskError: the name is unknown, the sizes are not positive, the model cannot take such images,
            weights, dropout or a stem were asked for that the backbone does not have or cannot fetch, or a file that
            cannot be read or does not fit; see `pretask.backbones.weights.load_weights`.
    """
    name = resolve_backbone_name(name, image_size)
    _check_sizes(name, image_size, in_channels, dropout)
    family = _family_of(name)
    _check_options(family, name, pretrained, dropout)
    if stem != "auto" and not family.has_stem:
        raise stem_of_its_own(name)
    keep_stem = keep_stem or pretrained or weights is not None
    backbone = family.build(Request(name, image_size, in_channels, pretrained, dropout, keep_stem, stem))
    facts = _measure(backbone, name, image_size, in_channels)
    if weights is not None:
        note = load_weights(backbone.layer_root, Path(weights), name, backbone.converted)
        facts = replace(facts, notes=(note,))
    if pretrained or weights is not None:
        as_learned = backbone.normalisation().of_channels(in_channels)
        facts = replace(
            facts,
            pretrained=True,
            mean=as_learned.mean,
            std=as_learned.std,
            interpolation=as_learned.interpolation,
        )
    backbone.facts = facts
    return backbone


def resolve_backbone_name(name: str, image_size: tuple[int, int]) -> str:
    """Return `name`; "auto" is resnet20 where both sides of `image_size` are at most 128, and resnet18 above."""
    if name != "auto":
        return name
    return "resnet20" if max(image_size) <= LARGEST_SMALL_IMAGE else "resnet18"


def backbone_names(pattern: str = "") -> list[str]:
    """Return the names that contain `pattern`, or match it where it has wildcards.

    Own families come first, then timm's models. A family with endless names (wrn-depth-width) is listed by
    its examples.
    """
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    return [name for name in _own_names() + _timm_names() if fnmatchcase(name, pattern)]


class _Map(nn.Module):
    """A backbone whose answer is its feature map."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone.feature_map(x)


def _measure(backbone: Backbone, name: str, image_size: tuple[int, int], in_channels: int) -> BackboneFacts:
    _, channels, height, width = output_shapes(_Map(backbone), image_size, in_channels)[0]
    return BackboneFacts(
        name=name,
        num_parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        stem=backbone.stem_words,
        final_map=(height, width),
        map_channels=channels,
        num_features=backbone.num_features,
        in_channels=in_channels,
        image_size=image_size,
        pretrained=False,
    )


def _families() -> list[Family]:
    families = [FAMILIES.get(name) for name in FAMILIES.names()]
    return sorted(families, key=lambda family: family.fallback)


def _family_of(name: str) -> Family:
    for family in _families():
        if family.matches(name):
            return family
    known = _own_names()
    nearest = _nearest(name, known) or _nearest(name, _timm_names())
    hint = f"; did you mean '{nearest}'?" if nearest else ""
    raise PretaskError(
        f"unknown backbone '{name}'{hint} (known: auto, {', '.join(known)}, any wrn-depth-width and every "
        f"timm model: type `pretask list backbones`)"
    )


def _nearest(name: str, known: list[str]) -> str:
    """Return the most similar known name or "": of equally similar ones, the one that starts most alike."""
    close = get_close_matches(name.lower(), known, n=8)
    return max(close, key=lambda other: _shared_start(other, name.lower()), default="")


def _shared_start(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _own_names() -> list[str]:
    return [name for family in _families() if not family.fallback for name in family.examples]


def _timm_names() -> list[str]:
    import timm

    own = set(_own_names())
    return [name for name in timm.list_models() if name not in own]


def _check_sizes(name: str, image_size: tuple[int, int], in_channels: int, dropout: float) -> None:
    if min(image_size) < 1 or in_channels < 1:
        raise PretaskError(
            f"{name} was asked for images of {image_size[0]}x{image_size[1]} with {in_channels} channels: "
            f"give a height, a width and channels of at least 1"
        )
    if not 0.0 <= dropout < 1.0:
        raise PretaskError(f"dropout {dropout} is not a probability below 1: give a number from 0 to 0.99")


def _check_options(family: Family, name: str, pretrained: bool, dropout: float) -> None:
    if pretrained and not family.has_pretrained:
        raise PretaskError(
            f"there are no pretrained weights for {name}: drop --pretrained, or choose a timm model "
            f"such as resnet18"
        )
    if dropout and not family.has_dropout:
        raise PretaskError(
            f"{name} has no dropout: set it to 0, or choose resnet12 or a wide ResNet (wrn-28-10)"
        )
