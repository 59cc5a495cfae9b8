"""Runs that start from a file of weights, of every kind and with every method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

from pretask import load_data, tasks
from pretask.config.files import from_flat, override
from pretask.config.sections import FewShotConfig, PretrainConfig
from pretask.errors import PretaskError
from pretask.methods import METHODS, load_classifier, load_encoder
from pretask.tasks import pretrain, train_few_shot
from pretask.tasks.supervised import Supervised

OWN = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
"""Of timm's test_resnet, and not of digits."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    return str(path)


def images(channels: int = 3, side: int = 32):
    """Return 90 images of noise in three classes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (90, channels, side, side), generator=generator, dtype=torch.uint8)
    return load_data((pixels, torch.arange(90) % 3))


def settings(folder: Path, **more):
    return {
        "backbone": "test_resnet", "batch_size": 8, "steps": 2, "threads": 1, "device": "cpu",
        "precision": "fp32", "runs": str(folder), "name": "run", **more,
    }  # fmt: skip


def card_of(folder: Path) -> dict:
    return json.loads((folder / "run" / "model.json").read_text())


@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_goes_on_from_weights(tmp_path, weights, method):
    asked = from_flat(settings(tmp_path, method=method, weights=weights))
    task = Supervised.read(asked, images())
    task.decide(torch.device("cpu"))
    normalize = task.build().encoder.normalize
    assert normalize.mean.flatten().tolist() == normalize.std.flatten().tolist() == [0.5] * 3
    tasks.train(asked, images())
    card = card_of(tmp_path)
    assert {key: card[key] for key in OWN} == OWN
    assert card["pretrained"]
    assert card["facts"]["interpolation"] == "bilinear"
    classifier = load_classifier(tmp_path / "run")
    assert classifier.encoder.normalize.mean.flatten().tolist() == [0.5] * 3
    assert torch.isfinite(classifier(torch.rand(2, 3, 32, 32))).all()


def test_the_run_starts_from_the_weights(tmp_path, weights):
    """With a rate next to nothing the kept backbone still has the file's values."""
    tasks.train(from_flat(settings(tmp_path, method="baseline", weights=weights, lr=1e-12)), images())
    kept = load_classifier(tmp_path / "run").backbone.net.state_dict()
    given = torch.load(weights, weights_only=True)
    for key, value in kept.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(value, given[key], rtol=0, atol=1e-6)


def test_grey_images_have_the_mean_over_colours(tmp_path, weights):
    tasks.train(from_flat(settings(tmp_path, method="sla", weights=weights)), images(1))
    assert card_of(tmp_path)["mean"] == [0.5]
    load_classifier(tmp_path / "run")


def test_a_small_resnet_with_the_large_kernel_loads_again_and_goes_on(tmp_path):
    """For small images too a network from weights keeps the 7x7 kernel, as does one that starts from its run."""
    path = tmp_path / "net.pth"
    torch.save(timm.create_model("resnet18").state_dict(), path)
    first = settings(tmp_path, method="baseline", backbone="resnet18", weights=str(path), steps=1)
    tasks.train(from_flat(first), images(side=12))
    assert load_classifier(tmp_path / "run").backbone.facts.stem == "7x7 stride 1"
    on = {**first, "weights": None, "init": str(tmp_path / "run"), "runs": str(tmp_path / "on")}
    tasks.train(from_flat(on), images(side=12))
    first_card, card = card_of(tmp_path), card_of(tmp_path / "on")
    assert card["pretrained"]
    assert (card["mean"], card["std"]) == (first_card["mean"], first_card["std"])
    assert card["mean"][0] == 0.485
    load_classifier(tmp_path / "on" / "run")


def test_a_run_from_random_weights_has_the_datas_mean(tmp_path):
    results = tasks.train(from_flat(settings(tmp_path, method="baseline")), images())
    card = card_of(tmp_path)
    assert [round(value, 4) for value in card["mean"]] == results["data"]["mean"]
    assert not card["pretrained"]
    assert "interpolation" not in card["facts"]


def test_pretraining_and_episodes_go_on_from_weights(tmp_path, weights):
    asked = settings(tmp_path, weights=weights, method="simclr", name="run")
    pretrain(override(PretrainConfig(), **asked), images())
    assert {key: card_of(tmp_path)[key] for key in OWN} == OWN
    load_encoder(tmp_path / "run")
    episodes = {key: value for key, value in asked.items() if key not in ("method", "batch_size")}
    episodes |= {
        "data": "digits", "image_size": 32, "channels": 3, "runs": str(tmp_path / "few"), "ways": 2, "queries": 2,
        "episodes": 2, "test_episodes": 3,
    }  # fmt: skip
    train_few_shot(override(FewShotConfig(), **episodes))
    assert {key: card_of(tmp_path / "few")[key] for key in OWN} == OWN


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"init": "runs/x"}, "--init and --weights are two"),
        ({"pretrained": True}, "--pretrained and --weights are two"),
        ({"init": "runs/x", "pretrained": True}, "--init and --pretrained and --weights are three"),
    ],
)
def test_one_starting_point(tmp_path, weights, more, words):
    with pytest.raises(PretaskError, match=f"{words} starting points: type one of them"):
        tasks.train(from_flat(settings(tmp_path, weights=weights, **more)), images())
