"""A pre-training from the command line to a classifier: files, resume, neighbours, probes, transfer, faults."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command_line import CommandLine, flags, picture, results_of
from forked import Forked
from pretask import tasks
from pretask.config.files import build_config, from_flat, load_any_config, to_full
from pretask.config.sections import PretrainConfig
from pretask.data import ArrayImages, ImageData, LabelledImages, load_data
from pretask.errors import PretaskError
from pretask.evaluation.run import evaluate_run
from pretask.methods import load_encoder, read_card
from pretask.tasks import Pretraining, pretrain
from pretask.training import loop

SMALL = {
    "data": "digits", "backbone": "resnet8", "epochs": 2, "eval_every": 2, "warmup_epochs": 0.5, "batch_size": 64,
    "hidden_size": 32, "embedding_size": 16, "threads": 1, "device": "cpu", "precision": "fp32",
}  # fmt: skip


@pytest.fixture
def pretask(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def settings(folder: Path, **more: object) -> PretrainConfig:
    return build_config(PretrainConfig, {**SMALL, "runs": str(folder), "name": "run", **more})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained run of a few seconds; not to be written to."""
    return Path(pretrain(settings(tmp_path_factory.mktemp("pretrained"), epochs=4, base="byol"))["folder"])


def test_what_a_run_leaves_behind(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "environment.json", "metrics.jsonl", "last",
        "model.safetensors", "split.safetensors", "model.json", "results.json", "report.html",
    }  # fmt: skip
    results, card = results_of(run), read_card(run)
    assert results["method"] == "trimix" and results["work_images"] == pytest.approx(
        results["images"] * 11 / 3
    )
    assert results["embeddings"]["embeddings"]["top1"] > 0.5  # ten classes of digits
    assert card.class_names == () and card.inferences == {} and "TriMix" in card.facts["reconstructions"][0]
    assert all(name.startswith("backbone.") for name in load_file(run / "model.safetensors"))
    assert isinstance(load_any_config(run / "config.yaml"), PretrainConfig)
    assert "spread of embeddings" in (run / "report.html").read_text()
    resumed = tasks.resume(run)
    assert (resumed["kind"], resumed["folder"]) == ("pretraining", str(run))
    assert resumed["embeddings"] == results["embeddings"]
    encoder = load_encoder(run)
    assert encoder.embed(torch.rand(2, 1, 8, 8)).shape == (2, 64)


def test_each_objective_has_the_base_that_it_declares() -> None:
    """Over byol self-consistency collapses; i-mix needs a base that predicts."""
    data = load_data("digits")
    for method, base in {"trimix": "simclr", "un-mix": "simclr", "i-mix": "byol", "vicreg": "vicreg"}.items():
        config = build_config(PretrainConfig, {**SMALL, "method": method})
        task = Pretraining(config, data)
        task.decide(torch.device("cpu"))
        assert to_full(task.config).get("base", method) == base
        assert task.build().base_name == base


def test_the_command_says_what_it_does_and_what_comes_next(pretask: CommandLine, tmp_path: Path) -> None:
    out = pretask.well("pretrain", *flags({**SMALL, "runs": tmp_path, "name": "run", "method": "barlow"}))
    assert "barlow, base barlow, targets from the network; views: upright; labels are not read" in out
    assert "validation top-1 of neighbours" in out and f"pretask train --init {tmp_path / 'run'}" in out
    assert "reconstructed" not in out
    again = pretask.well("pretrain", *flags({**SMALL, "runs": tmp_path, "name": "run", "method": "barlow"}))
    assert "is finished" in again


def pretrain_and_die(config: PretrainConfig) -> None:
    """Pre-train until snapshot 23, of 32 steps: in the second epoch."""
    save, calls = loop.save_snapshot, [0]

    def saved(*parts: object) -> None:
        save(*parts)
        calls[0] += 1
        if calls[0] == 23:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.save_snapshot = saved
    pretrain(config)


def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole = settings(tmp_path, name="whole", checkpoint_steps=1)
    pretrain(whole)
    killed = settings(tmp_path, name="killed", checkpoint_steps=1)
    process = Forked(tmp_path / "streams", pretrain_and_die, killed)
    told = process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL, told
    pretrain(killed)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    records = [
        [json.loads(line)["train"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    ]
    assert records[0] == records[1]


def test_a_classifier_starts_from_it(run: Path, tmp_path: Path) -> None:
    start = {
        "data": "digits", "method": "baseline", "per_class": 10, "epochs": 1, "batch_size": 25, "lr": 1e-9,
        "augment": "none", "threads": 1, "device": "cpu", "runs": str(tmp_path), "init": str(run),
    }  # fmt: skip
    results = tasks.train(from_flat({**start, "name": "tuned"}))
    tuned, origin = (
        load_file(Path(results["folder"]) / "model.safetensors"),
        load_file(run / "model.safetensors"),
    )
    weights = [key for key in origin if key.endswith("conv1.weight")]
    assert weights and all(torch.allclose(tuned[key], origin[key], atol=1e-6) for key in weights)
    with pytest.raises(PretaskError, match="--backbone resnet8 --channels 1"):
        tasks.train(from_flat({**start, "name": "other", "backbone": "resnet20"}))
    with pytest.raises(PretaskError, match="two starting points"):
        tasks.train(from_flat({**start, "name": "other", "pretrained": True}))
    with pytest.raises(PretaskError, match="no trained model in"):
        tasks.train(from_flat({**start, "name": "other", "init": str(tmp_path / "nothing")}))


@pytest.mark.slow
def test_pretraining_beats_chance_weights_on_few_labels(tmp_path: Path) -> None:
    """SimCLR without labels against random weights: ten labels per class, same labels, same splits."""
    random = pretrain(settings(tmp_path, name="random", epochs=1, lr=1e-9))["folder"]
    trained = pretrain(settings(tmp_path, method="simclr", epochs=8, hidden_size=64, embedding_size=32))[
        "folder"
    ]
    scores = [
        evaluate_run(folder, ("knn",), per_class=10)["protocols"]["knn"]["inferences"]["features"]
        for folder in (random, trained)
    ]
    assert scores[1]["fewer"]["top1"] > scores[0]["fewer"]["top1"] + 0.1, scores


def test_probes_tell_what_they_learned_from(run: Path, pretask: CommandLine) -> None:
    out = pretask.well("evaluate", run, "--protocol", "knn", "linear", "ridge", "--label-fraction", 0.1)
    assert "train: 0.1 of each class, seed 0" in out and "linear/1: " in out and "macro-F1" in out
    fewer, more = (
        evaluate_run(run, ("ridge",), per_class=n)["protocols"]["ridge"]["inferences"]["features"]
        for n in (5, 80)
    )
    assert (fewer["train_images"], more["train_images"]) == (50, 800) and fewer["top1"] < more["top1"]


def test_other_labels_are_drawn_by_their_seed(run: Path) -> None:
    def top1(seed: int | None) -> float:
        found = evaluate_run(run, ("ridge",), per_class=3, seed=seed)["protocols"]["ridge"]["inferences"][
            "features"
        ]
        return float(found["top1"])

    assert top1(None) == top1(0) != top1(1)


def test_transfer_takes_other_classes_sizes_and_channels(
    run: Path, tmp_path: Path, pretask: CommandLine
) -> None:
    for label in ("left", "right"):
        for number in range(12):
            picture(tmp_path / "photos" / label / f"{number}.png", (20, 20), seed=number)
    out = pretask.well("evaluate", run, "--data", tmp_path / "photos", "--protocol", "ridge")
    assert "transfer from digits to photos" in out and "features: test: " in out
    pretask("evaluate", run, "--data", tmp_path / "photos").fault("no class head", "pretask train --init")


def test_an_answer_needs_a_class_head(run: Path, pretask: CommandLine, tmp_path: Path) -> None:
    image = picture(tmp_path / "one.png", (8, 8), mode="L")
    for command in (["evaluate", run], ["predict", run, image], ["export", run, tmp_path / "out"]):
        pretask(*command).fault("has no class head", "pretask train --init")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"augment": "flip"}, ("--augment flip", "--strength")),
        ({"selection": "validation"}, ("labels", "--selection last")),
        ({"method": "sla"}, ("unknown pre-training method 'sla'",)),
        ({"strength": "smal"}, ("did you mean 'small'",)),
        ({"hidden_size": 0}, ("hidden_size = 0", "--hidden-size", "2 or more")),
        ({"mix_alpha": 0}, ("mix_alpha", "above 0")),
        ({"backbon": "resnet8"}, ("--backbon",)),
    ],
)
def test_faults_are_told_in_one_line(pretask: CommandLine, tmp_path: Path, given: dict, words: tuple) -> None:
    pretask("pretrain", *flags({**SMALL, "runs": tmp_path, **given})).fault(*words)


def test_a_run_of_the_other_kind_is_not_taken_up(run: Path, pretask: CommandLine) -> None:
    command = flags({"data": "digits", "runs": run.parent, "name": run.name, "device": "cpu", "epochs": 1})
    pretask("train", *command).fault("holds a pre-training", "another --name")


def test_a_folder_without_classes_is_enough(pretask: CommandLine, tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / "scans" / ("" if number % 2 else "more") / f"{number}.png", (16, 16), seed=number)
    command = {**SMALL, "data": tmp_path / "scans", "runs": tmp_path, "batch_size": 8, "name": "run"}
    out = pretask.well("pretrain", *flags(command))
    assert "scans: 20 images (20 train, 0 validation, 0 test), 1 classes" in out
    assert "neighbours" not in out and "effective rank" in out
    pretask("train", "--data", tmp_path / "scans", "--runs", tmp_path).fault("images lie directly in")
    pretask("evaluate", tmp_path / "run", "--protocol", "knn").fault("scans has no classes", "--data")
    one = picture(tmp_path / "one" / "only.png", (16, 16)).parent
    pretask("pretrain", *flags({**command, "data": one, "name": "one"})).fault("at least two images")


def images_of(count: int) -> ImageData:
    pixels = torch.randint(
        0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    data = LabelledImages(ArrayImages(pixels), torch.arange(count) % 2)
    return load_data({"train": (pixels.numpy(), data.labels.numpy())})


def test_without_predictor_and_stop_gradient_it_collapses_and_says_so(tmp_path: Path) -> None:
    results = pretrain(
        settings(
            tmp_path, method="simsiam", predictor=False, stop_gradient=False, epochs=6, lr=0.3, strength="small",
            validation=0.1,
        ),
        images_of(400),
    )  # fmt: skip
    told = results["embeddings"]["embeddings"]
    assert "collapses without a predictor and the stop-gradient" in told["warning"], told
    healthy = pretrain(
        settings(tmp_path, name="healthy", method="vicreg", epochs=6, strength="small"), images_of(400)
    )
    assert healthy["embeddings"]["embeddings"]["warning"] == ""
