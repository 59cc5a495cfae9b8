"""The layers of a backbone: what they put out, what comes after them, and features changed on their way."""

from __future__ import annotations

from torch import Tensor

from pretask.backbones.base import Backbone, Change
from pretask.backbones.facts import output_shapes
from pretask.errors import PretaskError


def through_layer(backbone: Backbone, layer: str, change: Change, x: Tensor) -> Tensor:
    """Return the features of normalised images when the output of a layer is changed on its way."""
    with backbone.tap(layer).changing(lambda maps: on_channels(change, maps, backbone.channels_last_maps)):
        features: Tensor = backbone(x)
    return features


def on_channels(change: Change, x: Tensor, channels_last: bool) -> Tensor:
    """Apply `change`, which speaks of maps [B, C, h, w], to maps of another layout or to tokens [B, n, C]."""
    if x.dim() == 3:
        return change(x.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
    if x.dim() == 4 and channels_last:
        return change(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return change(x)


def map_shape(backbone: Backbone, layer: str | None) -> tuple[int, int, int]:
    """Return (C, h, w) of a layer's output, or of the last feature map where `layer` is None; tokens are [C, n, 1].

    Raises:
        PretaskError: no such layer, or one without a single feature map.
    """
    facts = backbone.facts
    if layer is None:
        return facts.map_channels, *facts.final_map
    seen: list[tuple[int, ...]] = []

    def record(output: Tensor) -> Tensor:
        seen.append(tuple(output.shape) if isinstance(output, Tensor) else ())
        return output

    _dry_run(backbone, layer, record)
    if len(seen) != 1 or len(seen[0]) not in (2, 3, 4):
        raise PretaskError(
            f"layer '{layer}' of {facts.name} puts out no single feature map: type --layer with another one"
        )
    shape = seen[0]
    if len(shape) == 4:
        return (
            (shape[3], shape[1], shape[2]) if backbone.channels_last_maps else (shape[1], shape[2], shape[3])
        )
    return (shape[2], shape[1], 1) if len(shape) == 3 else (shape[1], 1, 1)


def share_after(backbone: Backbone, layer: str | None) -> float:
    """Return the share of a backbone's multiply-adds that come after a layer, 0 for the end."""
    if layer is None:
        return 0.0
    from torch.utils.flop_counter import FlopCounterMode  # loads the compiler's

    def flops(rows: int) -> int:
        with FlopCounterMode(display=False) as counter:
            _dry_run(backbone, layer, lambda x: x.repeat_interleave(rows, dim=0))
        return int(counter.get_total_flops())

    once = flops(1)
    return (flops(2) - once) / once


def _dry_run(backbone: Backbone, layer: str, change: Change) -> None:
    """Run one image through on weights without storage, a layer's output changed."""
    with backbone.tap(layer).changing(change):
        output_shapes(backbone, backbone.facts.image_size, backbone.facts.in_channels)
