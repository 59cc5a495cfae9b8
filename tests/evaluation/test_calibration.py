"""Temperatures are found again, and sets of answers hold the truth as often as they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from command_line import CommandLine
from pretask import predict, tasks
from pretask.config.files import from_flat
from pretask.errors import PretaskError
from pretask.evaluation.calibration import doubts, fit_temperature, threshold
from pretask.evaluation.metrics import expected_calibration_error
from pretask.export import export_model
from pretask.methods import load_classifier


def drawn(n: int, classes: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax is the very distribution that the labels are drawn from."""
    source = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=source)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=source).squeeze(1)


@pytest.mark.parametrize("sharper", [0.3, 1.0, 4.0])
def test_a_temperature_is_found_again(sharper: float) -> None:
    logits, labels = drawn(20_000)
    found = fit_temperature(sharper * logits, labels)
    assert found == pytest.approx(sharper, rel=0.05)
    assert expected_calibration_error(sharper * logits / found, labels) < 0.02


def test_a_classifier_without_errors_is_not_made_certain() -> None:
    labels = torch.arange(200) % 4
    logits = torch.nn.functional.one_hot(labels, 4).float() * 3
    wrong = 1 - float((logits / fit_temperature(logits, labels)).softmax(1).max(1).values.mean())
    assert wrong == pytest.approx(1 / 202, rel=0.05)


def test_few_images_or_one_class_calibrate_nothing() -> None:
    logits, labels = drawn(49)
    assert fit_temperature(9 * logits, labels) == 1
    assert doubts(logits, labels) == []
    assert fit_temperature(torch.zeros(100, 1), torch.zeros(100, dtype=torch.int64)) == 1


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_hold_the_truth_as_often_as_they_say(coverage: float) -> None:
    """Over 40 splits into 200 images to calibrate by and 2,000 new ones, of a classifier that is far too certain."""
    held = []
    for seed in range(40):
        logits, labels = drawn(2_200, seed=seed)
        probabilities = (5 * logits).softmax(1)
        least = threshold(doubts(5 * logits[:200], labels[:200]), coverage)
        held.append((probabilities[200:].gather(1, labels[200:, None]) >= least).float().mean())
    assert float(torch.stack(held).mean()) == pytest.approx(coverage, abs=0.02)


def test_too_few_doubts_for_a_coverage_leave_no_class_out() -> None:
    assert threshold([0.1] * 60, 0.99) == 0
    assert threshold([], 0.5) == 0


def test_many_doubts_are_kept_as_a_thousand() -> None:
    logits, labels = drawn(5_000)
    kept = doubts(logits, labels)
    assert len(kept) == 1_000
    assert kept == sorted(kept)


def test_a_run_is_calibrated_and_its_model_answers_so(configure, tmp_path: Path) -> None:
    results = tasks.train(configure(method="sla", epochs=2, validation=0.2))
    card = json.loads((tmp_path / "run/model.json").read_text())
    for name, entry in results["inferences"].items():
        found = entry["selected"]["test"]
        assert found["temperature"] == card["inferences"][name]["temperature"] != 1
        assert found["ece"] != found["ece_uncalibrated"]
        assert load_classifier(tmp_path / "run", name).temperature == found["temperature"]
        assert len(card["inferences"][name]["doubts"]) == results["data"]["validation_images"]


def test_a_run_without_validation_images_is_not_calibrated(configure, tmp_path: Path) -> None:
    tasks.train(configure(method="baseline", epochs=1, validation=0))
    card = json.loads((tmp_path / "run/model.json").read_text())
    assert card["inferences"]["single"]["temperature"] == 1
    assert card["inferences"]["single"]["doubts"] == []


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is not always sure, and pictures of digits beside it."""
    folder = tmp_path_factory.mktemp("calibrated")
    settings = {
        "data": "digits",
        "method": "baseline",
        "backbone": "resnet8",
        "epochs": 1,
        "lr": 0.1,
        "device": "cpu",
    }
    tasks.train(from_flat({**settings, "validation": 0.2, "runs": str(folder), "name": "run"}))
    for i in range(40):
        pixels = (load_digits().images[1700 + i] * 255 / 16).astype("uint8")
        picture = folder / "pictures" / f"{i}.png"
        picture.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(picture)
    return folder


def test_answers_with_a_coverage_say_where_the_model_does_not_know(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretask = CommandLine(capsys)
    plain = predict(calibrated / "run", [calibrated / "pictures"])
    sets = [answer["set"] for answer in predict(calibrated / "run", [calibrated / "pictures"], coverage=0.9)]
    wider = [
        answer["set"] for answer in predict(calibrated / "run", [calibrated / "pictures"], coverage=0.98)
    ]
    assert "set" not in plain[0]
    assert 1 <= sum(map(len, sets)) < sum(map(len, wider))
    for answer, few, many in zip(plain, sets, wider, strict=True):
        assert few == many[: len(few)]
        assert not few or few[0]["label"] == answer["label"]
    said = pretask.well("predict", calibrated / "run", calibrated / "pictures", "--coverage", 0.98)
    assert said.count("don't know") == sum(len(found) != 1 for found in wider) > 0
    rows = pretask.well(
        "predict", calibrated / "run", calibrated / "pictures", "--coverage", 0.98, "--format", "csv"
    ).splitlines()
    assert rows[0] == "image,rank,label,probability,in_set"
    assert sum(row.endswith(",yes") for row in rows) == sum(map(len, wider))


@pytest.mark.parametrize(("coverage", "fault"), [(2, "is no share"), (0, "is no share"), (0.9999, "or less")])
def test_a_coverage_that_cannot_be_is_refused(calibrated: Path, coverage: float, fault: str) -> None:
    with pytest.raises(PretaskError, match=fault):
        predict(calibrated / "run", [calibrated / "pictures"], coverage=coverage)


def test_a_run_without_doubts_has_no_coverage(configure, calibrated: Path, tmp_path: Path) -> None:
    tasks.train(configure(method="baseline", epochs=1, validation=0))
    with pytest.raises(PretaskError, match="fewer than 50 validation images"):
        predict(tmp_path / "run", [calibrated / "pictures"], coverage=0.9)


@pytest.mark.parametrize("format", ["safetensors", "onnx"])
def test_exports_answer_with_the_same_probabilities_and_sets(
    calibrated: Path, tmp_path: Path, format: str
) -> None:
    export_model(calibrated / "run", tmp_path / "export", format=format)
    pictures = [calibrated / "pictures"]
    for own, other in zip(
        predict(calibrated / "run", pictures, coverage=0.95),
        predict(tmp_path / "export", pictures, coverage=0.95),
        strict=True,
    ):
        assert other["probability"] == pytest.approx(own["probability"], abs=1e-4)
        assert [entry["label"] for entry in other["set"]] == [entry["label"] for entry in own["set"]]
