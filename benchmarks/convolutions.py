"""What convolutions gain from bf16 here: those of the three stages of a CIFAR ResNet, forwards and backwards.

Both precisions in turn, in one process; medians over rounds, and the ratio with its quartiles. Each call has another
input than the last, as in a network, so that none is found in the caches.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from pretask.speed.ceilings import interleave, ratio
from pretask.training.device import keep_freed_memory

STAGES = ((16, 32), (32, 16), (64, 8))
"""Channels and side of the maps."""
CALLS = 8
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def calls(channels: int, side: int, batch: int, dtype: torch.dtype) -> dict[str, Callable[[], None]]:
    """Return functions that make `CALLS` convolutions, and as many backward passes to inputs and weights."""
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    convolution = convolution.to(dtype=dtype, memory_format=torch.channels_last)
    shape = (batch, channels, side, side)
    maps = [torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last) for _ in range(CALLS)]
    gradients = maps[1:] + maps[:1]

    def forwards() -> None:
        with torch.no_grad():
            for x in maps:
                convolution(x)

    def backwards() -> None:
        for gradient, x in zip(gradients, maps, strict=True):
            torch.ops.aten.convolution_backward(
                gradient, x, convolution.weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
            )  # fmt: skip

    return {"forwards": forwards, "backwards": backwards}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    rows = []
    for channels, side in STAGES:
        pieces = {
            f"{direction} {precision}": call
            for precision, dtype in TYPES.items()
            for direction, call in calls(channels, side, args.batch_size, dtype).items()
        }
        seconds = interleave(pieces, args.rounds, torch.device("cpu"))
        for direction, passes in (("forwards", 1), ("backwards", 2)):
            flops = passes * 2 * 9 * channels**2 * side**2 * args.batch_size
            taken = {name: seconds[f"{direction} {name}"] for name in TYPES}
            each = {name: statistics.median(found) / CALLS for name, found in taken.items()}
            gain = ratio(taken["fp32"], taken["bf16"])
            speeds = "  ".join(
                f"{name} {1e3 * s:6.2f} ms {flops / s / 1e9:5.0f} GFLOP/s" for name, s in each.items()
            )
            print(
                f"{channels:>3} channels {side:>2}x{side:<2} {direction:<9}  {speeds}  "
                f"{gain.median:.2f} x [{gain.low:.2f}, {gain.high:.2f}]"
            )
            rows.append(
                {"channels": channels, "side": side, "direction": direction, "seconds": each, "gain": asdict(gain)}
            )  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps({"batch": args.batch_size, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
