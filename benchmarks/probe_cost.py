"""How long probes and maps of features take, on features made up for it.

Features are class means with noise, of about the accuracy given, so that no solver finds them trivial. Prints seconds,
each the median over rounds, and writes the figures with --json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from pretask.evaluation.base import EVALUATORS
from pretask.evaluation.features import Features
from pretask.explain.projections import separation, tsne
from pretask.speed.ceilings import time_once

CLASSES = 10


def made_up(count: int, width: int, noise: float, seed: int) -> Features:
    """Return features [count, width] of ten classes."""
    draws = torch.Generator().manual_seed(seed)
    means = torch.randn(CLASSES, width, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % CLASSES
    return Features(means[labels] + noise * torch.randn(count, width, generator=draws), labels)


class Bank:
    """The splits as an evaluator asks for them."""

    def __init__(self, images: int, width: int, noise: float) -> None:
        sizes = {"train": images, "validation": images // 10, "test": images // 5}
        self.splits = {
            name: made_up(count, width, noise, seed) for seed, (name, count) in enumerate(sizes.items())
        }
        self.num_classes, self.data = CLASSES, SimpleNamespace(validation=True)

    def __getitem__(self, split: str) -> Features:
        return self.splits[split]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000, help="to fit; a fifth as many are judged")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--points", type=int, default=10_000, help="of the t-SNE map")
    parser.add_argument("--noise", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bank = Bank(args.images, args.width, args.noise)
    points = made_up(args.points, args.width, args.noise, seed=9)
    probes: dict[str, Any] = {name: EVALUATORS.get(name)(split="test") for name in ("knn", "linear", "ridge")}
    told: dict[str, Any] = {}

    def judge(name: str) -> Callable[[], None]:
        return lambda: told.update({name: probes[name].judge(bank)["top1"]})

    pieces: dict[str, Callable[[], object]] = {name: judge(name) for name in probes}
    pieces["t-SNE"] = lambda: tsne(points.values, seed=0)
    pieces["separation"] = lambda: separation(points.values, points.labels)
    seconds: dict[str, list[float]] = {name: [] for name in pieces}
    for _ in range(args.rounds):
        for name, piece in pieces.items():
            seconds[name].append(time_once(piece, torch.device("cpu")))
    print(f"{args.images:,} x {args.width} features, {args.points:,} points, {args.threads} threads")
    for name, taken in seconds.items():
        right = f", {100 * told[name]:.1f} % right" if name in told else ""
        spread = f"(of {args.rounds}: {min(taken):.1f} to {max(taken):.1f})"
        print(f"{name:<12} {statistics.median(taken):6.1f} s {spread}{right}")
    if args.json is not None:
        args.json.write_text(
            json.dumps(
                {"arguments": {**vars(args), "json": None}, "seconds": seconds, "top1": told}, indent=2
            )
        )


if __name__ == "__main__":
    main()
