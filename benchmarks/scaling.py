"""What more processes bring: measured for one and two here, by arithmetic for more.

Weak scaling: as many images in each process's step, one thread each, in turn over rounds. The images per second are
those of whole epochs after the first, as the runs write them down. `--arithmetic` prints bytes and seconds for 1, 8
and 64 GPUs instead, from stated assumptions: nothing of that is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pretask.speed.ceilings import ratio

IMAGENET_IMAGES, IMAGENET_BYTES = 1_281_167, 110_000
"""Training images of ImageNet-1k, and the mean size of its JPEG files."""


@dataclass(frozen=True)
class Assumed:
    """What the arithmetic takes for granted of ResNet-50 at 224 pixels, bf16.

    Attributes:
        rate: images per second that one GPU trains on, a baseline step.
        weights: of the network; gradients are exchanged as float32.
        link: bytes per second of a GPU's link to the next one: within a machine of eight, and between machines.
        norms: layers of batch normalisation, each of which exchanges statistics twice a step.
        latency: seconds of one such exchange.
        decode: JPEG images per second that one core reads, crops and flips.
    """

    rate: float = 2500.0
    weights: float = 25.6e6
    link: tuple[float, float] = (300e9, 25e9)
    norms: int = 53
    latency: float = 30e-6
    decode: float = 150.0


def arithmetic(batch: int, passes: int, epochs: int, assumed: Assumed) -> list[str]:
    """Return lines for 1, 8 and 64 GPUs, `batch` images each, a method of so many passes per image."""
    lines = []
    for gpus in (1, 8, 64):
        compute = batch * passes / assumed.rate
        sent = 2 * (gpus - 1) / gpus * 4 * assumed.weights
        exchange = sent / assumed.link[gpus > 8]
        statistics = 2 * assumed.norms * assumed.latency * (gpus > 1)
        # Gradients travel while the backward pass, two thirds of a step, goes on; statistics are waited for.
        step = compute + statistics + max(0.0, exchange - 2 / 3 * compute)
        rate = gpus * batch / step
        lines.append(
            f"{gpus:>3} GPUs  {sent / 1e6:4.0f} MB sent  {1e3 * exchange:5.2f} ms exchange  {1e3 * statistics:4.1f} ms "
            f"statistics  {1e3 * step:5.1f} ms step  {compute / step:4.0%} efficiency  "
            f"{epochs * IMAGENET_IMAGES / rate / 3600:6.1f} h for {epochs} epochs  "
            f"{rate / assumed.decode:4.0f} cores to decode  {rate * IMAGENET_BYTES / 1e9:4.2f} GB/s to read"
        )
    return lines


def images_per_second(processes: int, arguments: list[str], folder: Path) -> float:
    """Train once and return the median rate of all epochs but the first."""
    launch = ["-m", "pretask", "train"]
    if processes > 1:
        launch = [
            *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)),
            *launch,
        ]
    command = [
        sys.executable,
        *launch,
        *arguments,
        "--threads",
        "1",
        "--device",
        "cpu",
        "--runs",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    (metrics,) = folder.glob("*/metrics.jsonl")
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    return median(float(record["images_per_second"]) for record in records[1:])


def measure(rounds: int, arguments: list[str]) -> dict[str, list[float]]:
    """Return the rates of each way of running, one per round."""
    shared = {"one process": (1, []), "two": (2, []), "two, own statistics": (2, ["--no-sync-batch-norm"])}
    rates: dict[str, list[float]] = {name: [] for name in shared}
    for number in range(rounds):
        for name in list(shared)[:: 1 if number % 2 else -1]:
            processes, more = shared[name]
            with tempfile.TemporaryDirectory() as folder:
                rates[name].append(images_per_second(processes, [*arguments, *more], Path(folder)))
    return rates


def main() -> None:
    """Measure or calculate, and print."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Other flags are those of `pretask train`.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="resnet20")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--method", default="baseline")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--arithmetic", action="store_true")
    args, more = parser.parse_known_args()
    if args.arithmetic:
        for name, passes in (("baseline", 1), ("sla", 4)):
            print(f"{name}, 256 images per GPU")
            print("\n".join(arithmetic(256, passes, 90, Assumed())))
        return
    chosen = ["data", "method", "backbone", "batch_size", "epochs"]
    flags = [word for key in chosen for word in (f"--{key.replace('_', '-')}", str(getattr(args, key)))]
    flags += more
    rates = measure(args.rounds, [*flags, "--validation", "0", "--precision", "fp32"])
    alone = rates["one process"]
    for name, found in rates.items():
        gain = ratio(found, alone)
        print(f"{name:<20} {median(found):8.0f} img/s  {gain.median:.2f} x [{gain.low:.2f}, {gain.high:.2f}]")
    if args.json:
        args.json.write_text(json.dumps({"arguments": flags, "images_per_second": rates}, indent=1))


if __name__ == "__main__":
    main()
