"""What a training step of each method costs, in steps of the first.

Forward, backward and update on one batch of noise, methods interleaved in one process; medians over rounds, and
the spread of the ratio over rounds. Methods of pre-training are measured from two views to the update, without the
time that the views take. Prints a table, and writes the figures with --json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from pretask import MethodParts, create_backbone, create_method
from pretask.backbones import Backbone
from pretask.config.sections import OptimConfig
from pretask.methods import Trainee
from pretask.pretraining import BASES, OBJECTIVES, ObjectiveParts, create_objective, get_strength
from pretask.speed.ceilings import interleave, ratio
from pretask.training.optim import make_optimizer


def stepper(
    name: str, backbone: str, batch: int, size: int, layer: str | None
) -> tuple[Callable[[], None], float]:
    """Return a function that makes one training step, and the passes that it should cost."""
    torch.manual_seed(0)
    network = create_backbone(backbone, image_size=(size, size))
    method = make(name, network, layer).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(method, OptimConfig())
    images = torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        method(images, labels)["loss"].backward()
        optimizer.step()

    return step, method.passes_per_image


def make(name: str, network: Backbone, layer: str | None) -> Trainee:
    """Return a method, or an objective of pre-training: "trimix" is over byol, "trimix:simsiam" over another base."""
    kind, _, base = name.partition(":")
    if kind not in OBJECTIVES.names():
        parts = MethodParts(network, torch.full((10,), 100), (0.5,) * 3, (0.25,) * 3)
        return create_method(name, parts, **({} if layer is None else {"layer": layer}))
    views = ObjectiveParts(network, (0.5,) * 3, (0.25,) * 3, get_strength("small"))
    objective = create_objective(kind, views, **({} if kind in BASES.names() else {"base": base or "byol"}))
    objective.augment = torch.nn.Identity()
    return objective


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--methods", nargs="+", default=["baseline", "ssfe", "gssl", "lorot", "lorot-i", "sla"]
    )
    parser.add_argument("--reference", default="baseline", help="what the others are compared with")
    parser.add_argument("--backbone", default="resnet32")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    names = list(dict.fromkeys([args.reference, *args.methods]))
    made = {name: stepper(name, args.backbone, args.batch_size, args.image_size, None) for name in names}
    seconds = interleave({name: step for name, (step, _) in made.items()}, args.rounds, torch.device("cpu"))
    print(
        f"{args.backbone}, batch {args.batch_size}, {args.image_size}x{args.image_size}, {args.threads} threads"
    )
    print(f"{'method':<12} {'step ms':>8} {'x ' + args.reference:>10} {'quartiles':>15} {'passes':>7}")
    rows = {}
    for name in names:
        cost, step = ratio(seconds[name], seconds[args.reference]), 1000 * statistics.median(seconds[name])
        rows[name] = {
            "step_ms": step, "ratio": cost.median, "quartiles": [cost.low, cost.high], "passes": made[name][1],
        }  # fmt: skip
        print(
            f"{name:<12} {step:8.1f} {cost.median:10.3f} {cost.low:7.3f}-{cost.high:.3f} {made[name][1]:7.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps({"settings": vars(args) | {"json": None}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
