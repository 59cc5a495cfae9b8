"""Ten crops and ensembles: which crops, which mean, and what may be asked together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from command_line import CommandLine, picture_folder, untrained_run
from pretask import tasks
from pretask.data import ArrayImages, ImageData, LabelledImages, load_data
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS
from pretask.evaluation.comparators import corner_crops
from pretask.evaluation.run import evaluate_run
from pretask.methods import load_classifier


class Mean(nn.Module):
    """Logits are the mean of the left and of the right half."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(5.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.gain * torch.stack([half.mean((1, 2, 3)) for half in images.chunk(2, dim=3)], 1)


def image_data(side: int, augment: str) -> ImageData:
    pixels = torch.randint(
        256, (6, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    split = LabelledImages(ArrayImages(pixels), torch.arange(6) % 2)
    return ImageData(
        "noise", split, None, split, ("a", "b"), 3, (side, side), (0.5,) * 3, (0.2,) * 3, augment
    )


def test_small_images_are_shifted_over_zeros_as_in_training() -> None:
    x = torch.rand(2, 3, 16, 8)
    padded = F.pad(x, (1, 1, 2, 2))
    places = [(0, 0), (0, 2), (4, 0), (4, 2), (2, 1)]
    crops = corner_crops(x)
    assert len(crops) == 5
    for crop, (top, left) in zip(crops, places, strict=True):
        assert torch.equal(crop, padded[..., top : top + 16, left : left + 8])
    assert torch.equal(crops[4], x)


def test_seven_eighths_of_large_images_are_enlarged() -> None:
    x = torch.rand(1, 3, 80, 80)
    crops = corner_crops(x)
    expected = F.interpolate(x[..., 10:, :70], (80, 80), mode="bilinear", align_corners=False)
    torch.testing.assert_close(crops[2], expected)
    assert [crop.shape for crop in crops] == [x.shape] * 5


@pytest.mark.parametrize(("augment", "views"), [("crop-flip", 10), ("crop", 5)])
def test_ten_crops_are_averaged_in_probabilities(augment: str, views: int) -> None:
    data = image_data(16, augment)
    evaluator, classifier = EVALUATORS.get("ten-crop")(batch_size=4), Mean()
    found = evaluator(classifier, data)
    x = data.test.images.array.float() / 255
    total = torch.zeros(6, 2)
    for crop in corner_crops(x):
        for view in (crop, crop.flip(3))[: views // 5]:
            total += classifier(view).softmax(1).detach() / views
    nll = F.nll_loss(total.log(), data.test.labels).item()
    assert (found["views"], found["n"]) == (views, 6)
    assert found["loss"] == pytest.approx(nll, rel=1e-5)
    assert ("crops", views) in evaluator.headline(found) and "ten-crop/1" in evaluator.protocol


def test_an_ensemble_is_the_mean_of_its_runs(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abc"):
        untrained_run(tmp_path / name, classes=("cat", "dog"), seed=seed)
    picture_folder(tmp_path / "photos/test", count=6)
    picture_folder(tmp_path / "photos/train", count=6)
    found = evaluate_run("a", protocols=["ensemble:members=b,c", "accuracy"], data="photos")["protocols"]
    assert set(found["ensemble:members=b,c"]["inferences"]) == {"aggregated", "single"}
    together = found["ensemble:members=b,c"]["inferences"]["aggregated"]
    assert together["networks"] == 3
    probabilities, labels, data = 0.0, None, load_data("photos", image_size=(16, 16))
    for name in "abc":
        answers = EVALUATORS.get("accuracy")().predictions(load_classifier(Path(name), "aggregated"), data)
        probabilities, labels = probabilities + answers.logits.softmax(1) / 3, answers.labels
    assert together["loss"] == pytest.approx(F.nll_loss(probabilities.log(), labels).item(), rel=1e-4)
    assert together["top1"] == (probabilities.argmax(1) == labels).float().mean().item()
    untrained_run(tmp_path / "other", classes=("cat", "owl"))
    untrained_run(tmp_path / "plain", classes=("cat", "dog"), method="baseline")
    cli = CommandLine(capsys)
    cli("evaluate", "a", "--protocol", "ensemble:members=other", "--data", "photos").fault("other classes")
    cli(
        "evaluate",
        "a",
        "--protocol",
        "ensemble:members=plain",
        "--inference",
        "aggregated",
        "--data",
        "photos",
    ).fault("does not answer as this run does (single)")
    with pytest.raises(
        PretaskError, match="needs other runs: type --protocol ensemble:members=runs/a,runs/b"
    ):
        EVALUATORS.get("ensemble")()


def test_a_member_that_has_learned_the_test_images_is_refused(configure, tmp_path: Path) -> None:
    data = str(picture_folder(tmp_path / "photos", count=20))
    small = {"method": "baseline", "epochs": 1, "per_class": None, "data": data, "batch_size": 8}
    for name, seed, split in (("run", 0, 0), ("same", 1, 0), ("other", 1, 1)):
        tasks.train(configure(name=name, seed=seed, split_seed=split, **small))
    found = evaluate_run(tmp_path / "run", protocols=[f"ensemble:members={tmp_path / 'same'}"])["protocols"]
    assert next(iter(found.values()))["inferences"]["single"]["networks"] == 2
    with pytest.raises(
        PretaskError, match=r"test images are train images of .*other: .* the same --split-seed"
    ):
        evaluate_run(tmp_path / "run", protocols=[f"ensemble:members={tmp_path / 'other'}"])
