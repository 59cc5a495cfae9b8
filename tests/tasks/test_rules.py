"""Settings that are left open follow from the images and the start, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pretask import load_data
from pretask.config.files import from_flat, to_flat
from pretask.data import ImageData
from pretask.tasks import Supervised
from pretask.tasks.foresee import foresee
from pretask.tasks.rules import RULES, Situation, settle

OPEN = dict.fromkeys(rule.key for rule in RULES)


def settled(images: int, pretrained: bool = False, **known) -> dict:
    return {made.key: made.value for made in settle(Situation(images, pretrained), {**OPEN, **known})}


@pytest.mark.parametrize(
    ("images", "batch", "epochs"),
    [(2, 16, 200), (219, 16, 59), (3_068, 64, 63), (50_000, 128, 31), (1_200_000, 128, 10)],
)
def test_batch_and_length_follow_the_number_of_images(images: int, batch: int, epochs: int) -> None:
    found = settled(images)
    assert (found["batch_size"], found["epochs"]) == (batch, epochs)
    assert found["optimizer"] == "sgd"
    assert found["lr"] == pytest.approx(0.1 * batch / 128, rel=0.05)


def test_fine_tuning_is_shorter_and_gentler() -> None:
    scratch, tuned = settled(3_000), settled(3_000, pretrained=True)
    assert tuned["optimizer"] == "adamw"
    assert tuned["lr"] < scratch["lr"] / 10
    assert tuned["epochs"] < scratch["epochs"] / 2


def test_what_the_user_says_is_kept_and_others_follow_it() -> None:
    found = settled(3_000, batch_size=32)
    assert "batch_size" not in found
    assert found["lr"] == pytest.approx(0.025)
    assert settled(3_000, optimizer="adamw")["lr"] == pytest.approx(1e-3)


def test_every_decision_has_a_line_with_its_reason() -> None:
    for made in settle(Situation(3_000, True), OPEN):
        assert made.line().startswith(made.key.replace("_", " "))
        assert made.reason


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_data("digits")


def test_methods_are_set_up_alike(digits: ImageData) -> None:
    found = []
    for method in ("baseline", "sla-fast", "lorot"):
        task = Supervised.read(from_flat({"method": method, "device": "cpu"}), digits)
        task.decide(torch.device("cpu"))
        flat = to_flat(task.config)
        found.append({key: flat[key] for key in OPEN})
    assert found[0] == found[1] == found[2]
    assert None not in found[0].values()


def test_a_batch_that_does_not_fit_is_cut_into_pieces(
    digits: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = from_flat({"method": "baseline", "device": "cpu", "batch_size": 64, "precision": "fp32"})
    task = Supervised.read(config, digits)
    task.decide(torch.device("cpu"))
    trainee = task.build()
    whole = foresee(task, trainee)
    assert whole is not None
    assert task.config.optim.accumulate == 1
    monkeypatch.setattr("pretask.training.foresight.free_memory", lambda device: int(whole.memory / 2))
    halved = foresee(task, trainee)
    assert halved is not None
    assert task.config.optim.accumulate in (4, 8)
    assert halved.memory < whole.memory / 2
    assert task.decided[-1].key == "accumulate"


def test_a_batch_that_cannot_be_cut_is_refused_with_the_way_out(
    digits: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretask.errors import PretaskError

    config = from_flat({"method": "baseline", "device": "cpu", "batch_size": 64, "accumulate": 1})
    task = Supervised.read(config, replace(digits))
    task.decide(torch.device("cpu"))
    trainee = task.build()
    whole = foresee(task, trainee)
    assert whole is not None
    monkeypatch.setattr("pretask.training.foresight.free_memory", lambda device: int(whole.memory / 2))
    with pytest.raises(PretaskError, match="are free: type --accumulate"):
        foresee(task, trainee, pieces_open=False)
    monkeypatch.setattr("pretask.training.foresight.free_memory", lambda device: 1000)
    with pytest.raises(PretaskError, match="smaller --image-size or --backbone"):
        foresee(task, trainee)
