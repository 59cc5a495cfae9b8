"""Any timm model as the backbone, trained and evaluated by one call."""

from __future__ import annotations

import argparse

from rich.console import Console

from pretask import configure, create_backbone, load_classifier, train

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--backbone", default="test_resnet", help="a name of `pretask list backbones`")
parser.add_argument("--image-size", type=int, default=16)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--runs", default="runs")
args = parser.parse_args()

# What the network looks like for images of this size, before any training.
facts = create_backbone(args.backbone, image_size=(args.image_size, args.image_size), in_channels=1).facts
print(facts.summary())
print(facts.warning() or "the final map has a good size")

config = configure(
    {
        "data": "digits",
        "image_size": args.image_size,
        "per_class": 20,
        "method": "sla-sd",
        "backbone": args.backbone,
        "epochs": args.epochs,
        "batch_size": 50,
        "optimizer": "adamw",
        "lr": 2e-3,
        "weight_decay": 0.05,
        "runs": args.runs,
        "name": f"timm-{args.backbone}-{args.image_size}px-{args.epochs}-epochs",
    }
)
results = train(config, console=Console())
for inference, figures in results["inferences"].items():
    print(f"{inference}: {100 * figures['selected']['test']['top1']:.1f} % of the test images")

classifier = load_classifier(results["folder"])  # images [B, C, H, W] in [0, 1] -> logits [B, N]
print(
    f"saved in {results['folder']}: {classifier.num_classes} classes, {classifier.num_views} pass per image"
)
