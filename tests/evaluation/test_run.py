"""`pretask evaluate` with protocols on features: budgets of labels, transfer, runs without a class head."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from command_line import CommandLine
from pretask.config.files import from_flat
from pretask.evaluation.run import evaluate_run
from pretask.methods import load_classifier, load_encoder, read_card, save_encoder
from pretask.tasks import train

CPU = ("--device", "cpu")


@pytest.fixture
def pretask(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def _digits(tmp_path_factory):
    """A small run on digits, an encoder without a head from it, and other data: bright and dark, 12x12 colours."""
    top = tmp_path_factory.mktemp("probes")
    settings = {
        "data": "digits",
        "method": "baseline",
        "per_class": 5,
        "epochs": 1,
        "backbone": "resnet8",
        "batch_size": 25,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "split_seed": 7,
        "name": "run",
        "runs": str(top / "runs"),
    }
    train(from_flat(settings))
    card = read_card(top / "runs/run")
    bare = replace(card, class_names=(), inferences={}, inference="", method="trimix")
    save_encoder(top / "runs/bare", load_encoder(top / "runs/run"), bare)
    (top / "runs/bare/config.yaml").write_bytes((top / "runs/run/config.yaml").read_bytes())
    draws = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = draws.integers(0, 128, (60, 12, 12, 3)) + 127 * labels[:, None, None, None]
    np.savez(top / "light.npz", train_images=images.astype(np.uint8), train_labels=labels)
    return top


@pytest.fixture
def digits(_digits, monkeypatch):
    monkeypatch.chdir(_digits)
    return _digits


def figures(pretask, *arguments):
    return json.loads(pretask.well("evaluate", *arguments, *CPU, "--format", "json"))


def test_features_are_evaluated_once_beside_the_head(digits, pretask):
    answer = figures(pretask, "runs/run", "--protocol", "accuracy", "knn", "linear", "ridge")
    assert list(answer["protocols"]) == ["accuracy", "knn", "linear", "ridge"]
    assert list(answer["protocols"]["accuracy"]["inferences"]) == ["single"]
    for name in ("knn", "linear", "ridge"):
        ((inference, found),) = answer["protocols"][name]["inferences"].items()
        assert inference == "features"
        assert (found["n"], found["train_images"], found["num_features"]) == (599, 50, 64)
        assert found["top1"] > 0.3
        assert answer["protocols"][name]["protocol"].startswith(f"{name}/1: ")
    assert answer["protocols"]["linear"]["inferences"]["features"]["choosing_images"] == 120
    assert answer["features"]["transfer"] is None
    assert answer["features"]["seed"] == 7


def test_a_run_without_a_head_has_the_same_features(digits, pretask):
    bare, whole = (
        figures(pretask, f"runs/{run}", "--protocol", "knn", "linear")["protocols"] for run in ("bare", "run")
    )
    assert bare == whole
    told = ("runs/bare has no class head", "pretask train --init runs/bare", "--protocol knn linear")
    pretask("evaluate", "runs/bare", *CPU).fault(*told)
    pretask("evaluate", "runs/bare", "--protocol", "knn", "fgsm", *CPU).fault(*told)
    pretask("predict", "runs/bare", "light.npz", *CPU).fault(*told)
    pretask("export", "runs/bare").fault(*told)


def test_the_encoder_embeds_as_the_classifier(digits):
    images = torch.rand(3, 1, 8, 8)
    classifier = load_classifier("runs/run")
    for run in ("runs/run", "runs/bare"):
        encoder = load_encoder(run)
        assert not encoder.training
        assert encoder.pretexts == ()
        assert torch.equal(encoder.embed(images), classifier.embed(images))
        assert torch.equal(encoder(images), encoder.embed(images))


def test_labels_are_few_and_drawn_by_the_seed(digits, pretask):
    arguments = ("runs/run", "--protocol", "knn", "--per-class", 2)
    answer = figures(pretask, *arguments)
    found = answer["protocols"]["knn"]["inferences"]["features"]
    assert (found["train_images"], found["k"]) == (20, 20)
    assert answer["features"]["notes"][-1] == "train: 2 images per class, seed 7"
    assert figures(pretask, *arguments, "--seed", 7) == answer
    other = figures(pretask, *arguments, "--seed", 8)
    assert other["protocols"]["knn"]["inferences"]["features"]["top1"] != found["top1"]
    fraction = figures(pretask, "runs/run", "--protocol", "ridge", "--label-fraction", 0.4)
    assert fraction["protocols"]["ridge"]["inferences"]["features"]["train_images"] == 20
    assert fraction["features"]["label_fraction"] == 0.4


def test_labels_for_probes_leave_the_head_as_it_is(digits):
    alone = evaluate_run("runs/run", ["accuracy"], device="cpu")["protocols"]["accuracy"]
    beside = evaluate_run("runs/run", ["accuracy", "knn"], device="cpu", per_class=1)["protocols"]["accuracy"]
    assert alone == beside


def test_the_table_tells_transfer_splits_and_choice(digits, pretask):
    lines = pretask.well(
        "evaluate", "runs/run", "--data", "light.npz", "--protocol", "knn", "linear", *CPU
    ).splitlines()
    assert lines[:4] == [
        "runs/run on light",
        "transfer from digits to light",
        "features: test: 12 train images held out, seed 7",
        "features: validation: 5 train images held out, seed 7",
    ]
    assert lines[4].startswith("knn/1: ")
    assert lines[5].startswith("features    top-1 100.00 %  balanced 100.00 %  macro-F1 100.00 %  k 43")
    assert "chosen on 5 validation images" in lines[7]
    assert lines[7].endswith("train images 43  features 64  n 12")


def test_labels_of_other_data_vary_while_its_splits_stay(digits):
    answers = [
        evaluate_run("runs/bare", ["ridge"], data="light.npz", device="cpu", per_class=1, seed=seed)
        for seed in (0, 1)
    ]
    splits = ["test: 12 train images held out, seed 7", "validation: 5 train images held out, seed 7"]
    for seed, answer in enumerate(answers):
        assert answer["features"]["notes"] == [*splits, f"train: 1 images per class, seed {seed}"]
        assert answer["features"]["transfer"] == {"from": "digits", "to": "light"}


def test_faults_are_told_in_one_line(digits, pretask):
    evaluate = ("evaluate", "runs/run", *CPU)
    pretask(*evaluate, "--per-class", 5).fault(
        "--per-class: this is for protocols on features", "none is among accuracy", "--protocol knn linear"
    )
    pretask(*evaluate, "--label-fraction", 0.1, "--seed", 1).fault("--label-fraction and --seed")
    pretask(*evaluate, "--protocol", "knn", "--per-class", 5, "--label-fraction", 0.1).fault("exclude")
    pretask(*evaluate, "--protocol", "knn", "--per-class", 6).fault("has 5 train images, fewer than 6")
    pretask(*evaluate, "--protocol", "knn", "--label-fraction", 2).fault(
        "label_fraction = 2.0 is not possible: give a number above 0, at most 1"
    )
    pretask(*evaluate, "--protocol", "knn", "--split", "train").fault("knn is fitted on the train images")
    pretask(*evaluate, "--protocol", "ridge", "--inference", "single").fault("--inference single", "drop it")
    pretask(*evaluate, "--protocol", "lienar").fault("did you mean 'linear'?")
    pretask(*evaluate, "--protocol", "accuracy", "knn", "--data", "light.npz").fault("the model knows 0, 1")
    pretask(*evaluate, "--protocol", "linear", "--split", "validation", "--per-class", 1).fault(
        "10 images of 10 classes leave none"
    )
    np.savez("three.npz", train_images=np.zeros((3, 8, 8), np.uint8), train_labels=np.arange(3))
    pretask(*evaluate, "--protocol", "knn", "--data", "three.npz").fault(
        "three has 3 train images of 3 classes, too few to hold out test and validation images"
    )
    (digits / "runs/begun").mkdir(exist_ok=True)
    pretask("evaluate", "runs/begun", "--protocol", "knn", *CPU).fault("no trained model in runs/begun")
