"""A made-up study and run folder, as the library writes them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import torch

from pretask.evaluation.predictions import Predictions
from pretask.studies.rows import Row, summarise

ENVIRONMENT = {
    "python": "3.11.7",
    "packages": {"torch": "2.10.0", "torchvision": "0.25.0", "timm": "1.0.20"},
    "hardware": {"device": "cpu", "processor": "2 cores"},
    "commit": "0123abc",
}
# method: (inference, views, top-1 at equal epochs, at equal compute)
METHODS = {
    "baseline": ("single", 1, 0.9130, 0.9130),
    "da": ("mean", 4, 0.9085, 0.8990),
    "mt": ("single", 4, 0.9142, 0.9051),
    "sla": ("aggregated", 4, 0.9381, 0.9140),
    "ssfe": ("aggregated", 4, 0.9263, 0.9161),
    "gssl": ("single", 1, 0.9205, 0.9198),
}


def study_rows(
    values: dict[tuple[str, str], dict[str, list[float]]],
    budget: str = "equal-epochs",
    reference: str | None = None,
    **more: object,
) -> list[dict]:
    """Summaries of a study from each method's and inference's metrics over seeds 0, 1, …; `more` is of all rows."""
    common = {
        "data": "",
        "protocol": "accuracy",
        "unit": "epochs",
        "length": 40,
        "work_images": 4e3,
        "seconds": 3.1,
    }
    rows = [
        Row(
            budget=budget,
            method=method,
            inference=inference,
            seed=seed,
            metric=metric,
            value=value,
            **(common | more),
        )
        for (method, inference), metrics in values.items()
        for metric, found in metrics.items()
        for seed, value in enumerate(found)
    ]
    return summarise(rows, reference)


def sample_study(seeds: int = 3, gate: bool = False) -> dict:
    """A study of six methods under two budgets, with the weights of the gate in gssl where `gate` is set."""
    draw = random.Random(5)
    rows, curves = [], []
    for budget in ("equal-epochs", "equal-compute"):
        for method, (inference, views, *levels) in METHODS.items():
            level = levels[budget == "equal-compute"]
            values = [level + draw.gauss(0, 0.0018) for _ in range(seeds)]
            epochs = 40 if budget == "equal-epochs" else 40 * 4 // views
            measured = {
                "top1": values,
                "balanced": [v - 0.004 for v in values],
                "ece": [abs(0.03 + draw.gauss(0, 0.003)) for _ in values],
            }
            rows += [
                Row(
                    budget, method, inference, seed, "", "accuracy", metric, value, "epochs", epochs,
                    epochs * views * 4000, 3.1 * epochs * views,
                )
                for metric, found in measured.items()
                for seed, value in enumerate(found)
            ]  # fmt: skip
            shared = budget == "equal-compute" and views == 4
            budgets = ["equal-epochs", "equal-compute"] if views == 4 else [budget]
            for seed in range(0 if shared else seeds):
                curves.append(_curve(draw, method, seed, budgets, epochs, level))
                if gate and method == "gssl":
                    curves[-1]["gate"] = _gate(seed, epochs)
    return {
        "name": "digits-compare",
        "command": "pretask compare --data digits --methods baseline da mt sla ssfe gssl --seeds 3",
        "created": "2026-01-31 12:00 UTC",
        "environment": ENVIRONMENT,
        "data": {"name": "digits", "train_images": 1149, "test_images": 360, "classes": 10},
        "backbone": "resnet20, 272,474 parameters, final map 8x8",
        "protocol": "accuracy/1: top-1, split=test",
        "selection": "validation",
        "seeds": list(range(seeds)),
        "reference": "baseline",
        "unit": "epochs",
        "failures": [],
        "rows": summarise(rows),
        "curves": curves,
    }


def write_sample_run(folder: Path, classes: int = 4, epochs: int = 30) -> Path:
    """Write the files of a finished run into a folder."""
    from pretask.evaluation.accuracy import all_metrics

    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(1)
    torch.manual_seed(0)
    labels = torch.arange(classes * 30) % classes
    logits = torch.randn(len(labels), classes)
    logits[torch.arange(len(labels)), labels] += 2.5 * math.log10(classes) + torch.rand(len(labels))
    test = all_metrics(Predictions(logits * 2, labels), torch.arange(1, classes + 1) * 3)
    lines = [_epoch(draw, epoch, epochs) for epoch in range(1, epochs + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT | {"command": "pretask train"}))
    (folder / "config.yaml").write_text("method: sla\ndata: digits\noptimiser:\n  lr: 0.1\n  momentum: 0.9\n")
    names = [f"kind {c:02d}" for c in range(classes)]
    (folder / "model.json").write_text(json.dumps({"class_names": names}))
    results = {
        "method": "sla",
        "inferences": {
            name: {"selected": {"validation": test, "test": test}, "last": {"test": test}}
            for name in ("aggregated", "single")
        },
        "default_inference": "aggregated",
        "selection": "validation",
        "selected_epoch": epochs - 2,
        "protocol": "accuracy/1: top-1, split=test",
        "command": "pretask train --data digits --method sla --seed 0",
        "seed": 0,
        "seconds": 372.4,
        "work_images": 4000 * epochs,
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def _curve(
    draw: random.Random, method: str, seed: int, budgets: list[str], epochs: int, level: float
) -> dict:
    at = list(range(1, epochs + 1))
    evaluated = [epoch for epoch in at if epoch % 2 == 0]
    return {
        "method": method,
        "seed": seed,
        "budgets": budgets,
        "at": at,
        "train_loss": [2.3 * math.exp(-e / 12) + 0.1 + abs(draw.gauss(0, 0.02)) for e in at],
        "train_accuracy": [1 - 0.9 * math.exp(-e / 8) for e in at],
        "validation_top1": [level - 0.7 * math.exp(-e / 6) + draw.gauss(0, 0.01) for e in evaluated],
        "validation_at": evaluated,
    }


def _gate(seed: int, epochs: int) -> dict:
    moved = [0.5 * epoch / epochs - 0.02 * seed for epoch in range(1, epochs + 1)]
    return {"lorot-e": [0.75 - m for m in moved], "patch-flip": [0.25 + m for m in moved]}


def _epoch(draw: random.Random, epoch: int, epochs: int) -> dict:
    accuracy = 0.93 - 0.8 * math.exp(-epoch / 6)
    line = {
        "epoch": epoch,
        "step": 40 * epoch,
        "lr": 0.05 * (1 + math.cos(math.pi * epoch / epochs)),
        "train": {
            "loss": 2.2 * math.exp(-epoch / 8) + 0.2,
            "accuracy": accuracy + 0.03,
            "pretext_accuracy": 0.25 + 0.6 * (1 - math.exp(-epoch / 10)),
        },
        "images_per_second": 1300 + draw.gauss(0, 30),
        "wait_share": 0.012,
        "seconds": 12.4,
    }
    if epoch % 2 == 0:
        line["validation"] = {
            "aggregated": {"top1": accuracy + draw.gauss(0, 0.01)},
            "single": {"top1": accuracy - 0.02 + draw.gauss(0, 0.01)},
        }
    return line
