"""An evaluator of your own: how right is a classifier where it may decline the images it is least sure of?"""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

import torch
from torch import nn

from pretask import ImageData, configure, train
from pretask.data.loaders.loader import create_loader
from pretask.evaluation import EVALUATORS, predict
from pretask.evaluation.run import evaluate_run


@EVALUATORS.register("selective")
class Selective:
    """Accuracy over the 80 % of the images that the classifier is surest of."""

    name = "selective"

    def __init__(
        self, split: str = "test", batch_size: int = 256, device: torch.device | str = "cpu"
    ) -> None:
        self.split, self.batch_size, self.device = split, batch_size, device
        self.protocol = f"selective/1: top-1 over the 80 % highest softmax maxima, split={split}"

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        images = getattr(data, self.split)
        options = {"image_size": data.image_size, "batch_size": self.batch_size, "device": self.device}
        with closing(create_loader(images, train=False, **options)) as loader:
            answers = predict(classifier, loader)
        confidence, predicted = answers.logits.softmax(dim=1).max(dim=1)
        kept = confidence.argsort(descending=True)[: round(0.8 * len(predicted))]
        return {"top1": float((predicted == answers.labels)[kept].float().mean()), "n": len(kept)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--runs", default="runs")
    args = parser.parse_args()
    settings = {"data": "digits", "per_class": 40, "backbone": "resnet8", "batch_size": 50}
    own = {"epochs": args.epochs, "runs": args.runs, "name": f"own-evaluator-{args.epochs}-epochs"}
    results = train(configure({**settings, **own}))
    answers = evaluate_run(results["folder"], protocols=["selective"])
    print(answers["protocols"]["selective"]["protocol"])
    for inference, figures in answers["protocols"]["selective"]["inferences"].items():
        print(f"{inference}: {100 * figures['top1']:.1f} % of {figures['n']} test images")
