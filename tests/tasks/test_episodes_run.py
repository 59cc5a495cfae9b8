"""Training by episodes from the command line: what it leaves, what it goes on with, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command_line import CommandLine, flags, results_of
from pretask.config.files import build_config, load_any_config
from pretask.config.sections import FewShotConfig
from pretask.data import ArrayImages, LabelledImages
from pretask.data.load import load_data
from pretask.data.splits.classes import split_classes
from pretask.evaluation.run import evaluate_run
from pretask.tasks import train_few_shot

SMALL = {
    "data": "digits", "backbone": "resnet8", "epochs": 2, "episodes": 4, "ways": 2, "queries": 3, "test_episodes": 30,
    "threads": 1, "device": "cpu", "precision": "fp32",
}  # fmt: skip


@pytest.fixture
def pretask(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def settings(folder: Path, **more: object) -> FewShotConfig:
    return build_config(FewShotConfig, {**SMALL, "runs": str(folder), "name": "run", **more})


def test_a_run_from_the_command_line(pretask: CommandLine, tmp_path: Path) -> None:
    command = flags({**SMALL, "runs": tmp_path, "name": "run", "pretexts": ("rotation",)})
    out = pretask.well("few-shot", *command)
    assert "prototypes, 2-way 1-shot, joint with rotation: 8 ways" in out
    assert "aggregated  test " in out and "single      test " in out and "30 of 2 classes" in out
    run = tmp_path / "run"
    results = results_of(run)
    assert {len(figures["episodes"]) for figures in results["few_shot"].values()} == {30}
    assert not set.intersection(*(set(names) for names in results["classes"].values()))
    assert isinstance(load_any_config(run / "config.yaml"), FewShotConfig)
    assert {"episodes.scale", "backbone.conv.weight"} <= set(load_file(run / "model.safetensors"))
    assert (run / "report.html").is_file()
    assert "is finished" in pretask.well("few-shot", *command)
    pretask("train", "--data", "digits", "--runs", tmp_path, "--name", "run").fault(
        "holds a training by episodes"
    )
    pretask("predict", run, run / "config.yaml").fault("has no class head")


def test_the_same_episodes_are_asked_of_every_method(tmp_path: Path) -> None:
    """A gain in paired comparison needs them: accuracies of two heads on untrained features go together."""
    runs = [
        train_few_shot(settings(tmp_path, name=head, head=head, lr=1e-9, epochs=1, test_episodes=200))
        for head in ("prototypes", "ridge")
    ]
    one, other = (torch.tensor(run["few_shot"]["single"]["episodes"]) for run in runs)
    assert torch.corrcoef(torch.stack((one, other)))[0, 1] > 0.3


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pretask.training import loop

    whole = train_few_shot(settings(tmp_path, name="whole", checkpoint_steps=1))
    save, calls = loop.save_snapshot, [0]

    def stop(*parts: object) -> None:
        save(*parts)
        calls[0] += 1
        if calls[0] == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_snapshot", stop)
    with pytest.raises(KeyboardInterrupt):
        train_few_shot(settings(tmp_path, name="stopped", checkpoint_steps=1))
    monkeypatch.undo()
    resumed = train_few_shot(settings(tmp_path, name="stopped", checkpoint_steps=1))
    assert resumed["few_shot"] == whole["few_shot"]
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_it_learns_to_tell_new_classes(tmp_path: Path) -> None:
    """Patterns of which each class has its own: better on new classes than untrained features."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(30 * 12) % 30
    patterns = torch.rand(30, 1, 8, 8, generator=generator)
    noise = torch.rand(len(labels), 1, 8, 8, generator=generator)
    pixels = (255 * (0.35 * patterns[labels] + 0.65 * noise)).to(torch.uint8)
    data = load_data({"train": (pixels.numpy(), labels.numpy())})
    split = split_classes(data, seed=0)
    shared = {"ways": 5, "shots": 1, "queries": 5, "augment": "none", "test_episodes": 200}
    untrained = train_few_shot(settings(tmp_path, name="untrained", epochs=1, lr=1e-9, **shared), split)
    trained = train_few_shot(settings(tmp_path, name="trained", epochs=9, episodes=25, **shared), split)
    scores = [run["few_shot"]["single"]["top1"] for run in (untrained, trained)]
    assert scores[1] > scores[0] + 0.1, scores


def test_its_backbone_can_be_probed_and_started_from(tmp_path: Path, pretask: CommandLine) -> None:
    run = train_few_shot(settings(tmp_path))["folder"]
    found = evaluate_run(run, ("ridge",), data="digits", per_class=5)["protocols"]["ridge"]
    assert found["inferences"]["features"]["train_images"] == 50
    pretask.well(
        "train", "--data", "digits", "--init", run, "--per-class", 5, "--epochs", 1, "--batch-size", 25,
        "--runs", tmp_path, "--name", "tuned", "--device", "cpu", "--threads", 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ways": 9}, ("9-way episodes need 9 classes", "--ways")),
        ({"shots": 500}, ("--shots",)),
        ({"per_class": 3}, ("--per-class", "--shots")),
        ({"selection": "test"}, ("new",)),
        ({"pretexts": ("color",)}, ("colour order needs 3 channels",)),
        ({"ways": 0}, ("ways", "1 or more")),
    ],
)
def test_faults_are_told_in_one_line(pretask: CommandLine, tmp_path: Path, given: dict, words: tuple) -> None:
    pretask("few-shot", *flags({**SMALL, "runs": tmp_path, **given})).fault(*words)


def test_images_and_labels_of_a_split_are_those_of_the_data() -> None:
    data = load_data("digits")
    split = split_classes(data, seed=3)
    assert sum(len(part.train) for part in (split.train, split.validation, split.test)) == len(data.train)
    assert isinstance(split.train.train, LabelledImages) and isinstance(data.train.images, ArrayImages)
    assert json.dumps(split.train.facts())
