"""A pretext of your own in one class; every method, product, report and model file then knows it by name."""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from torch import Tensor

from pretask import Pretext, configure, train
from pretask.pretexts import PRETEXTS


@PRETEXTS.register("half-roll")
class HalfRoll(Pretext):
    """The image rolled by half its width, half its height, both or neither (M = 4): which seam is where?"""

    name = "half-roll"
    num_labels = 4

    def transform(self, x: Tensor, labels: Tensor) -> Tensor:
        """Roll each image [B, C, H, W] by its own label, int64 [B]: bit 0 sideways, bit 1 up and down."""
        sideways, upright = ((labels >> bit & 1).bool()[:, None, None, None] for bit in (0, 1))
        x = torch.where(sideways, x.roll(x.shape[3] // 2, dims=3), x)
        return torch.where(upright, x.roll(x.shape[2] // 2, dims=2), x)

    def label_names(self) -> list[str]:
        return ["as is", "sideways", "upright", "both"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pretexts", nargs="+", default=["half-roll"], help="try also: half-roll rotation2")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--runs", default="runs")
    args = parser.parse_args()
    settings = {"data": "digits", "per_class": 40, "backbone": "resnet8", "batch_size": 50}
    own = {"method": "sla", "pretexts": args.pretexts, "epochs": args.epochs, "runs": args.runs}
    name = f"{'+'.join(args.pretexts)}-{args.epochs}-epochs"
    results = train(configure({**settings, **own, "name": name}), console=Console())
    for inference, figures in results["inferences"].items():
        print(f"{inference}: {100 * figures['selected']['test']['top1']:.1f} % of the test images")
