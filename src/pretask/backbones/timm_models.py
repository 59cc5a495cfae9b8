"""Every model of timm by its name, brought to the one contract of this package."""

from __future__ import annotations

import importlib
import sys
from math import log
from typing import Any

from torch import Tensor, nn

from pretask.backbones.base import FAMILIES, IMAGENET, Backbone, Family, Normalisation, Request
from pretask.backbones.facts import output_shapes
from pretask.backbones.room import TooLarge
from pretask.backbones.stem import Stem, stem_for, stem_of_its_own
from pretask.errors import PretaskError


class TimmBackbone(Backbone):
    """A timm model without its classifier. Images [B, C, H, W] → features [B, num_features].

    `forward` pools as the model does (class token, mean, attention). `feature_map` is always [B, D, h, w]:
    tokens are laid out on their grid without the prefix tokens, and channels-last maps are turned.
    """

    def __init__(
        self, net: nn.Module, image_size: tuple[int, int], in_channels: int, stem_words: str
    ) -> None:
        super().__init__()
        self.net: Any = net
        self.stem_words = stem_words
        self._prefix: int | None = None
        self._grid = (0, 0)
        self._read_layout(image_size, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to features [B, num_features]."""
        return self._head(self.net.forward_features(x))

    @property
    def layer_root(self) -> nn.Module:
        """timm's model, so that layers have timm's names."""
        net: nn.Module = self.net
        return net

    def feature_map(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to [B, D, h, w]."""
        features: Tensor = self.net.forward_features(x)
        if self._prefix is not None:
            tokens = features[:, self._prefix :].transpose(1, 2)
            return tokens.reshape(*tokens.shape[:2], *self._grid)
        return features.permute(0, 3, 1, 2) if self.channels_last_maps else features

    def pool_map(self, maps: Tensor) -> Tensor:
        """Map the last feature map [B, D, h, w] to features [B, num_features].

        Raises:
            PretaskError: the model has tokens instead of a map.
        """
        if self._prefix is not None:
            raise PretaskError(
                f"{self.facts.name} pools tokens, not a map: type --layer with one of its layers, or another backbone"
            )
        return self._head(maps.permute(0, 2, 3, 1) if self.channels_last_maps else maps)

    def normalisation(self) -> Normalisation:
        """Return what timm says of the weights of the model's name."""
        said: dict[str, Any] = self.net.pretrained_cfg or {}
        return Normalisation(
            tuple(said.get("mean") or IMAGENET.mean),
            tuple(said.get("std") or IMAGENET.std),
            said.get("interpolation") or IMAGENET.interpolation,
        )

    def converted(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights as timm converts those of the model's other releases, positions resized; see `Backbone`."""
        convert = getattr(sys.modules[type(self.net).__module__], "checkpoint_filter_fn", None)
        if convert is None:
            return weights
        try:
            made = convert(dict(weights), self.net)
        except Exception:  # it is for files of releases that it knows, and this may be none
            return weights
        return {key: value for key, value in made.items() if isinstance(value, Tensor)}

    def _head(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.net.forward_head(features, pre_logits=True)
        return pooled

    def _read_layout(self, image_size: tuple[int, int], in_channels: int) -> None:
        shapes = output_shapes(_Features(self.net), image_size, in_channels)
        if len(shapes) != 1:
            raise ValueError("it has several feature maps instead of one")
        shape = shapes[0]
        if len(shape) == 3:
            known = getattr(self.net, "num_prefix_tokens", None)
            self._prefix, self._grid = token_grid(shape[1], image_size, known)
        elif len(shape) == 4:
            self.channels_last_maps = getattr(self.net, "output_fmt", "NCHW") == "NHWC"
        else:
            raise ValueError(
                f"its features have the shape {list(shape)} instead of [B, D, h, w] or [B, tokens, D]"
            )
        self.pools_map = self._prefix is None and not self.channels_last_maps
        self.num_features = output_shapes(self, image_size, in_channels)[0][1]


class _Features(nn.Module):
    """Only the feature extractor of a timm model, as a module of its own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net

    def forward(self, x: Tensor) -> Any:
        return self.net.forward_features(x)


def token_grid(
    tokens: int, image_size: tuple[int, int], prefix: int | None = None
) -> tuple[int, tuple[int, int]]:
    """Return (prefix tokens, (h, w)) for a sequence of `tokens`: the grid nearest to the image's aspect.

    An unknown `prefix` (None) is 0, 1 or 2, whichever fits best.
    """
    aspect = image_size[0] / image_size[1]
    candidates = []
    for before in (0, 1, 2) if prefix is None else (prefix,):
        count = tokens - before
        for height in range(1, count + 1):
            if count % height == 0:
                width = count // height
                candidates.append((abs(log(height / width / aspect)), before, (height, width)))
    _, before, grid = min(candidates)
    return before, grid


def adapt_resnet_stem(net: nn.Module, stem: Stem, keep_kernel: bool) -> str:
    """Bring the stem of a timm ResNet to `stem`, in place, and return its words.

    Small images lose the max-pool and get a 3×3 convolution of the stem's stride. Pretrained weights
    (`keep_kernel`) and the three-convolution stems of the "d" models keep their kernels; the stride changes.
    """
    resnet: Any = net
    deep = isinstance(resnet.conv1, nn.Sequential)
    first = resnet.conv1[0] if deep else resnet.conv1
    if not stem.pool:
        resnet.maxpool = nn.Identity()
        if deep or keep_kernel:
            first.stride = (stem.stride, stem.stride)
        else:
            first = nn.Conv2d(
                first.in_channels,
                first.out_channels,
                stem.kernel,
                stem.stride,
                padding=stem.kernel // 2,
                bias=False,
            )
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
            resnet.conv1 = first
    kernel, pool = first.kernel_size[0], " + pool stride 2" if stem.pool else ""
    return f"{kernel}x{kernel} stride {first.stride[0]}{pool}"


def _create(request: Request) -> nn.Module:
    """Return timm's model, built for the image size where its constructor takes one."""
    import timm

    options: dict[str, Any] = {
        "pretrained": request.pretrained,
        "num_classes": 0,
        "in_chans": request.in_channels,
    }
    try:
        model: nn.Module = timm.create_model(request.name, img_size=request.image_size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        model = timm.create_model(request.name, **options)
    return model


def _check_weights(name: str) -> None:
    """Refuse a weight tag that timm does not know; a name without a tag always passes."""
    import timm

    architecture, _, tag = name.partition(".")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        known = ", ".join(tags) or "none"
        raise PretaskError(
            f"timm's {architecture} has no weights '{tag}' (known: {known}): type {architecture}"
        )


def _network(request: Request) -> nn.Module:
    import timm

    _check_weights(request.name)
    if request.pretrained and not timm.is_model_pretrained(request.name):
        raise PretaskError(f"timm has no pretrained weights for {request.name}: drop --pretrained")
    try:
        return _create(request)
    except TooLarge:
        raise
    except Exception as error:
        if not (request.pretrained and _is_network_fault(error)):
            raise _unfit(request, error) from error
        raise PretaskError(
            f"the pretrained weights of {request.name} could not be fetched ({type(error).__name__}): "
            f"check the connection, or drop --pretrained"
        ) from error


def _build(request: Request) -> TimmBackbone:
    resnet = importlib.import_module("timm.models.resnet")
    net = _network(request)
    if isinstance(net, resnet.ResNet):
        stem = stem_for(request.image_size, request.stem)
        words = adapt_resnet_stem(net, stem, keep_kernel=request.keep_stem)
    elif request.stem != "auto":
        raise stem_of_its_own(request.name)
    else:
        words = _stem_words(net)
    try:
        return TimmBackbone(net, request.image_size, request.in_channels, words)
    except TooLarge:
        raise
    except Exception as error:
        raise _unfit(request, error) from error


def _stem_words(net: nn.Module) -> str:
    patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    if patch is None:
        return "as in timm"
    height, width = (patch, patch) if isinstance(patch, int) else patch
    return f"{height}x{width} patches"


def _unfit(request: Request, error: Exception) -> PretaskError:
    height, width = request.image_size
    return PretaskError(
        f"timm's {request.name} cannot be used on {height}x{width}x{request.in_channels} images "
        f"({_reason(error)}): choose another image size or backbone"
    )


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def _is_network_fault(error: Exception) -> bool:
    # The hub's client raises OSError for what it foresees, and its transport's own types for the rest; which
    # transport that is (httpx, httpx2, …) changes between its versions.
    return isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore"))


def _is_timm_name(name: str) -> bool:
    import timm

    # timm also takes addresses ("hf-hub:…") that reach into the network for their architecture.
    return ":" not in name and bool(timm.is_model(name))


FAMILIES.register("timm")(
    Family(
        "every timm model",
        ("resnet18", "resnet50", "efficientnet_b0", "convnext_tiny", "vit_small_patch16_224"),
        matches=_is_timm_name,
        build=_build,
        has_pretrained=True,
        has_stem=True,
        fallback=True,
    )
)
