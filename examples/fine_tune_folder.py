"""A pretrained timm network, fine-tuned with joint labels on a folder of class folders, beside plain fine-tuning."""

from __future__ import annotations

import argparse

from rich.console import Console

from pretask import compare, configure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", nargs="?", default="digits", help="a folder with one folder of images per class")
parser.add_argument("--backbone", default="test_resnet", help="resnet18, efficientnet_b0, convnext_tiny, …")
parser.add_argument("--pretrained", action="store_true", help="timm's weights, fetched once")
parser.add_argument("--image-size", type=int, default=32)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seeds", type=int, default=1)
parser.add_argument("--runs", default="runs")
args = parser.parse_args()

config = configure(
    {
        "data": args.data,
        "image_size": args.image_size,
        "per_class": 20,
        "backbone": args.backbone,
        "pretrained": args.pretrained,
        "epochs": args.epochs,
        "batch_size": 32,
        "optimizer": "adamw",
        "lr": 1e-3 if args.pretrained else 3e-3,
        "weight_decay": 0.05,
        "runs": args.runs,
        "name": f"fine-tuning-{args.backbone}-{args.epochs}-epochs",
    }
)
# At equal compute the baseline trains four times as long: joint labels cost four passes per image.
study = compare(config, ("baseline", "sla-sd"), args.seeds, equal_compute=True, console=Console())
for row in study["rows"]:
    top1 = 100 * row["test"]["top1"]["mean"]
    print(f"{row['budget']}, {row['method']} {row['inference']}: {top1:.1f} %")
print(f"report: {study['folder']}/report.html")
