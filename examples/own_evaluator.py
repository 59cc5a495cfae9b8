"""An evaluator of your own: how right is a classifier where it may decline the images it is least sure of?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import torch
from torch import nn

from pretask import ImageData, configure, train
from pretask.data.loaders.loader import create_loader
from pretask.evaluation import EVALUATORS, Headline, predict
from pretask.evaluation.run import evaluate_run
from pretask.options import between


@EVALUATORS.register("selective")
class Selective:
    """Accuracy over the images that the classifier is surest of."""

    name = "selective"

    def __init__(
        self,
        split: str = "test",
        batch_size: int = 256,
        device: torch.device | str = "cpu",
        kept: Annotated[float, between(0, 1), "share of the images that it must answer"] = 0.8,
    ) -> None:
        self.split, self.batch_size, self.device, self.kept = split, batch_size, device, kept
        self.protocol = f"selective/1: top-1 over the {kept:.0%} highest softmax maxima, split={split}"

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        images = getattr(data, self.split)
        options = {"image_size": data.image_size, "batch_size": self.batch_size, "device": self.device}
        with closing(create_loader(images, train=False, **options)) as loader:
            answers = predict(classifier, loader)
        confidence, predicted = answers.logits.softmax(dim=1).max(dim=1)
        kept = confidence.argsort(descending=True)[: max(1, round(self.kept * len(predicted)))]
        return {"top1": float((predicted == answers.labels)[kept].float().mean()), "n": len(kept)}

    def headline(self, found: Mapping[str, Any]) -> Headline:
        return [("top-1", found["top1"], "%"), ("answered", found["n"])]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--runs", default="runs")
    args = parser.parse_args()
    settings = {"data": "digits", "per_class": 40, "backbone": "resnet8", "batch_size": 50}
    own = {"epochs": args.epochs, "runs": args.runs, "name": f"own-evaluator-{args.epochs}-epochs"}
    results = train(configure({**settings, **own}))
    answers = evaluate_run(results["folder"], protocols=["selective", "selective:kept=0.5"])
    for answer in answers["protocols"].values():
        print(answer["protocol"])
        for inference, found in answer["inferences"].items():
            print(f"{inference}: {100 * found['top1']:.1f} % of {found['n']} test images")
