"""Temperatures are found again, and sets of answers hold the truth as often as they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pretask import tasks
from pretask.evaluation.calibration import doubts, fit_temperature, threshold
from pretask.evaluation.metrics import expected_calibration_error
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
        assert found["ece"] < found["ece_uncalibrated"]
        assert load_classifier(tmp_path / "run", name).temperature == found["temperature"]
        assert len(card["inferences"][name]["doubts"]) == results["data"]["validation_images"]


def test_a_run_without_validation_images_is_not_calibrated(configure, tmp_path: Path) -> None:
    tasks.train(configure(method="baseline", epochs=1, validation=0))
    card = json.loads((tmp_path / "run/model.json").read_text())
    assert card["inferences"]["single"]["temperature"] == 1
    assert card["inferences"]["single"]["doubts"] == []
