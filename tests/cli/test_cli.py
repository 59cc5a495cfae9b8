"""Every command of the command line, on data that takes a second."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml

import pretask as package
from command_line import CommandLine, flags, picture, picture_folder, results_of, snapshot, tiny
from pretask import tasks
from pretask.cli.main import main
from pretask.config.files import to_flat
from pretask.config.recipes import read_recipe
from pretask.config.sections import RunConfig
from pretask.errors import Interrupted, PretaskError
from pretask.studies import demo

RUN_FILES = {
    "config.yaml",
    "environment.json",
    "last/state.safetensors",
    "metrics.jsonl",
    "model.json",
    "model.safetensors",
    "report.html",
    "results.json",
    "split.safetensors",
}


@pytest.fixture
def pretask(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Noise of two sizes in two classes, and a run trained on them."""
    place = tmp_path_factory.mktemp("photos")
    picture_folder(place / "photos", count=12)
    picture(place / "photos" / "cat" / "00.png", (20, 24))
    with pytest.raises(SystemExit) as leaving, pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        main(
            [
                "train",
                *tiny(data="photos", per_class=None, image_size=16, batch_size=8, method="sla", name="run"),
            ]
        )
    assert leaving.value.code == 0
    return place


def config_of(run: str) -> dict:
    return yaml.safe_load((Path("runs") / run / "config.yaml").read_text())


# help and lists


def test_help_names_every_command(pretask):
    text = pretask.well("--help")
    for command in ("demo", "train", "evaluate", "compare", "predict", "export", "list"):
        assert f" {command} " in text
    assert pretask.well("--version").strip() == version("pretask")


def test_help_of_train_names_every_setting(pretask):
    text = pretask.well("train", "--help")
    for key in to_flat(RunConfig()):
        assert f"--{key.replace('_', '-')}" in text


@pytest.mark.parametrize(
    ("kind", "name", "more"),
    [
        ("methods", "sla-sd", "distilled"),
        ("pretexts", "rotation", "90°"),
        ("backbones", "resnet20", ""),
        ("data", "cifar10", "50,000"),
        ("augmentations", "crop-flip", ""),
        ("evaluators", "accuracy", "calibration"),
        ("explanations", "gradcam", "Grad-CAM"),
        ("executors", "ray", "Ray task"),
        ("recipes", "sla-cifar10", "CIFAR-10"),
    ],
)
def test_lists(pretask, kind, name, more):
    lines = pretask.well("list", kind).splitlines()
    (line,) = (line for line in lines if line.split()[0] == name)
    assert more in line
    assert all(line.strip() for line in lines)


# train


def test_train_leaves_a_complete_run_folder(pretask):
    text = pretask.well("train", *tiny(method="baseline", name="one"))
    assert set(snapshot(Path("runs/one"))) == RUN_FILES
    results = results_of("runs/one")
    for word in (
        "data ",
        "backbone ",
        "method ",
        "training ",
        "machine ",
        "epoch 1/1",
        "report: runs/one/report.html",
    ):
        assert word in text
    assert f"top-1 {100 * results['inferences']['single']['selected']['test']['top1']:.2f} %" in text
    assert results["seed"] == 0
    assert "<html" in Path("runs/one/report.html").read_text()


@pytest.mark.parametrize("method", ["da", "mt", "sla-sd"])
def test_every_method_trains_and_is_evaluated(pretask, method):
    pretask.well("train", *tiny(method=method, name="run"))
    text = pretask.well("evaluate", "runs/run", "--device", "cpu")
    results = results_of("runs/run")
    for inference, figures in results["inferences"].items():
        assert f"{inference:<11} top-1 {100 * figures['selected']['test']['top1']:.2f} %" in text


def test_a_finished_run_is_read_and_not_made_again(pretask):
    first = pretask.well("train", *tiny(name="run"))
    files = snapshot(Path("runs"))
    again = pretask.well("train", *tiny(name="run"))
    resumed = pretask.well("train", "--resume", "runs/run")
    assert "is finished" in again
    assert again.splitlines()[-5:] == first.splitlines()[-5:]
    assert resumed == again
    assert snapshot(Path("runs")) == files


def test_resume_takes_no_other_settings(pretask):
    pretask.well("train", *tiny(name="run"))
    pretask("train", "--resume", "runs/run", "--epochs", 5).fault("--resume runs/run", "without other flags")


@pytest.mark.parametrize(("batch_size", "warns"), [(128, True), (8, False)])
def test_few_steps_per_epoch_are_warned_of(pretask, batch_size, warns):
    printed = pretask.well("train", *tiny(method="baseline", per_class=9, batch_size=batch_size))
    told = "1 step(s) per epoch are few for 90 images: consider --batch-size 16"
    assert (told in " ".join(printed.split())) == warns


@pytest.mark.parametrize(
    ("attack", "asked", "radius"), [("pgd10", None, 8.0), ("pgd10", 4.3, 4.3), ("pgd2-l2", None, 128.0)]
)
def test_a_training_attack_has_its_own_radius_unless_one_is_given(pretask, attack, asked, radius):
    command = ("train", *tiny(method="baseline", adversarial=attack, epsilon=asked, name="run"))
    pretask.well(*command)
    assert yaml.safe_load(Path("runs/run/config.yaml").read_text())["epsilon"] == radius
    pretask.well(*command)  # the same command reads the finished run, so nothing in it counts as changed


@pytest.mark.parametrize(("augment", "warns"), [("crop-flip", True), ("crop", False)])
def test_a_pretext_that_augmentation_hides_is_warned_of(pretask, augment, warns):
    printed = pretask.well("train", *tiny(pretexts=("rotation2", "hflip"), augment=augment))
    assert ("hides its label: type an --augment without flip" in printed) == warns


def test_the_default_name_tells_method_data_and_seed(pretask):
    pretask.well("train", *tiny(method="baseline", seed=3))
    assert Path("runs/baseline-digits-seed3/results.json").is_file()


def test_training_from_a_folder_of_pictures(photos, pretask):
    data = results_of(photos / "runs/run")["data"]
    assert data["class_names"] == ["cat", "dog"]
    assert data["image_size"] == [16, 16]
    assert data["mixed_sizes"]


# recipes and configurations


def test_flags_stand_above_the_configuration_and_that_above_the_recipe(pretask):
    recipe = read_recipe("sla-cifar10")
    mine = {
        "lr": 0.03,
        "nesterov": True,
        "channels_last": False,
        "pretexts": ["rotation2"],
        "per_class": 5,
        "momentum": 0.8,
    }
    Path("mine.yaml").write_text(yaml.safe_dump(mine))
    given = {
        "data": "digits",
        "method": "mt",
        "backbone": "resnet8",
        "epochs": 1,
        "validation": 0.2,
        "batch_size": 25,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "augment": "none",
        "nesterov": False,
        "pretexts": ("rotation2", "vflip"),
        "momentum": 0.7,
        "name": "run",
    }
    pretask.well("train", "--recipe", "sla-cifar10", "--config", "mine.yaml", *flags(given))
    config = config_of("run")

    expected = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    assert {key: config[key] for key in expected} == expected
    for key in set(mine) - set(given):
        assert config[key] == mine[key]
    assert recipe["steps"]
    assert config["steps"] is None, "steps of the recipe overrule epochs of the command line"
    from_recipe = set(recipe) - set(given) - set(mine) - {"steps"}
    assert {"schedule", "weight_decay"} & from_recipe
    for key in from_recipe:
        assert config[key] == recipe[key], key


def test_a_runs_own_configuration_makes_the_same_run_again(pretask):
    pretask.well("train", *tiny(name="one", method="sla-sd"))
    pretask.well("train", "--config", "runs/one/config.yaml", "--name", "two")
    assert config_of("two") == {**config_of("one"), "name": "two"}
    assert results_of("runs/one")["inferences"] == results_of("runs/two")["inferences"]
    assert Path("runs/one/model.safetensors").read_bytes() == Path("runs/two/model.safetensors").read_bytes()


def test_numbers_in_a_configuration_may_have_an_exponent(pretask):
    Path("mine.yaml").write_text("lr: 1e-3\nskip_bad: true\n")
    pretask.well("train", "--config", "mine.yaml", *tiny(method="baseline", name="run", lr=None))
    assert config_of("run")["lr"] == 0.001
    assert config_of("run")["skip_bad"] is True


# evaluate


def test_evaluate_gives_the_figures_of_the_results(photos, pretask, monkeypatch):
    monkeypatch.chdir(photos)
    results = results_of("runs/run")["inferences"]
    for split in ("test", "validation"):
        answer = json.loads(pretask.well("evaluate", "runs/run", "--split", split, "--format", "json"))
        figures = answer["protocols"]["accuracy"]["inferences"]
        assert f"split={split}" in answer["protocols"]["accuracy"]["protocol"]
        assert set(figures) == set(results) == {"aggregated", "single"}
        for name in results:
            expected = results[name]["selected"][split]
            for key in ("top1", "balanced", "confusion"):
                assert figures[name][key] == expected[key]
            assert figures[name]["loss"] == pytest.approx(expected["loss"], abs=1e-5)


def test_evaluate_one_inference_as_a_table(photos, pretask, monkeypatch):
    monkeypatch.chdir(photos)
    test = results_of("runs/run")["inferences"]["single"]["selected"]["test"]
    lines = pretask.well("evaluate", "runs/run", "--inference", "single").splitlines()
    assert lines[0] == "runs/run on photos"
    assert len(lines) == 3
    assert f"top-1 {100 * test['top1']:.2f} %" in lines[2]


def test_evaluate_other_data_takes_it_whole(photos, pretask):
    picture_folder(Path("other"), count=25, size=(40, 30), mode="L")
    answer = pretask.well(
        "evaluate", photos / "runs/run", "--data", "other", "--split", "train", "--format", "json"
    )
    for figures in json.loads(answer)["protocols"]["accuracy"]["inferences"].values():
        assert figures["n"] == 50
        assert figures["few"] is not None, "the model was trained on few images of each class"
        assert figures["medium"] is None
    pretask("evaluate", photos / "runs/run", "--data", "other").fault("no test split", "train")


def test_an_export_is_evaluated_on_data_that_is_given(photos, pretask):
    pretask.well("export", photos / "runs/run", "owls")
    pretask("evaluate", "owls").fault("owls is an export", "--data")
    picture_folder(Path("other"), count=5)
    assert "aggregated" in pretask.well("evaluate", "owls", "--data", "other", "--split", "train")


def test_data_of_other_classes_is_refused(photos, pretask):
    picture_folder(Path("other"), ("cat", "owl"), count=3)
    pretask("evaluate", photos / "runs/run", "--data", "other").fault("cat, owl", "cat, dog")


# predict and export


def test_predict_tells_the_same_as_table_csv_and_json(photos, pretask):
    paths = [picture(Path("a.png"), (30, 20), "RGBA"), picture(Path("b, c.png"), mode="L")]
    call = ("predict", photos / "runs/run", *paths, "--top", 2, "--format")
    answers = json.loads(pretask.well(*call, "json"))
    rows = list(csv.DictReader(io.StringIO(pretask.well(*call, "csv"))))
    table = pretask.well(*call, "table").splitlines()

    assert [answer["image"] for answer in answers] == ["a.png", "b, c.png"]
    assert [row["image"] for row in rows] == ["a.png", "a.png", "b, c.png", "b, c.png"]
    assert [row["rank"] for row in rows] == ["1", "2", "1", "2"]
    for answer, line in zip(answers, table, strict=True):
        assert line.startswith(answer["image"])
        for named in answer["top"]:
            assert f"{named['label']} {100 * named['probability']:.1f} %" in line
    flat = [(named["label"], f"{named['probability']:.6f}") for answer in answers for named in answer["top"]]
    assert [(row["label"], row["probability"]) for row in rows] == flat


def test_predict_and_export_agree_in_fresh_processes(photos, pretask):
    path = picture(Path("new.png"), (33, 21))
    pretask.well("export", photos / "runs/run", "deploy", "--inference", "single")
    here = json.loads(pretask.well("predict", "deploy", path, "--format", "json", "--top", 2))
    run = str(photos / "runs/run")
    asked = [run, str(path), "--inference", "single", "--format", "json", "--top", "2"]
    command = [sys.executable, "-m", "pretask", "predict", *asked]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    assert there.stderr == ""
    (answer,) = json.loads(there.stdout)
    assert answer["label"] == here[0]["label"]
    assert answer["probability"] == pytest.approx(here[0]["probability"], abs=1e-5)


def test_predict_counts_what_it_leaves_out(photos, pretask):
    picture(Path("photos/good.png"))
    Path("photos/bad.png").write_text("no picture")
    pretask("predict", photos / "runs/run", "photos").fault("photos/bad.png", "--skip-bad")
    answer = pretask("predict", photos / "runs/run", "photos", "--skip-bad", "--format", "json")
    assert answer.code == 0
    assert [found["image"] for found in json.loads(answer.out)] == ["photos/good.png"]
    assert "left out 1 of 2" in answer.err
    assert "photos/bad.png" in answer.err


def test_export_says_what_it_wrote(photos, pretask):
    assert "deploy" in pretask.well("export", photos / "runs/run", "deploy")
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        exported, run = (package.load_classifier(place)(images) for place in ("deploy", photos / "runs/run"))
    assert torch.equal(exported, run)


# compare and demo


def test_compare_makes_a_study_and_reads_it_again(pretask):
    call = ("compare", "--methods", "baseline", "sla", "--seeds", 2, *tiny(name="study"))
    first = pretask.well(*call)
    study = json.loads(Path("runs/study/study.json").read_text())
    cells = [Path(f"runs/study/{m}-epochs1-seed{s}") for s in (0, 1) for m in ("baseline", "sla")]
    files = {cell: snapshot(cell) for cell in cells}
    again = pretask.well(*call)

    assert "4 runs\n" in first
    assert "4 already finished" in again
    assert all(set(found) == RUN_FILES for found in files.values())
    assert {cell: snapshot(cell) for cell in cells} == files
    assert [(row["method"], row["inference"], row["seeds"]) for row in study["rows"]] == [
        ("baseline", "single", [0, 1]),
        ("sla", "aggregated", [0, 1]),
        ("sla", "single", [0, 1]),
    ]
    figures = [results_of(cell)["inferences"] for cell in cells]
    baseline = [f["single"]["selected"]["test"]["top1"] for f in figures[::2]]
    sla = [f["aggregated"]["selected"]["test"]["top1"] for f in figures[1::2]]
    assert study["rows"][0]["test"]["top1"]["values"] == baseline
    assert study["rows"][1]["difference"]["mean"] == pytest.approx((sum(sla) - sum(baseline)) / 2)
    for word in ("aggregated", "difference [95 % CI]", f"{50 * sum(baseline):.2f} ±"):
        assert word in first, "the table is cut short"
        assert word in Path("runs/study/table.md").read_text()
    assert "<html" in Path("runs/study/report.html").read_text()
    table = pretask.well("table", "runs/study")
    assert table == Path("runs/study/table.md").read_text().replace(
        "; weights of the epoch that was best on validation images", ""
    )
    assert (
        pretask.well("table", "runs/study/runs.csv", "--format", "csv")
        .splitlines()[2]
        .startswith("baseline,single,1,")
    )
    assert "<html" in pretask.well("table", "runs/study/runs.csv", "--format", "html", "--metric", "ece")
    pretask("table", "runs/study", "--reference", "slaa").fault("did you mean 'sla'?")
    pretask("table", "runs/none.csv").fault("cannot read runs/none.csv")


def test_a_study_of_other_settings_does_not_take_finished_runs_for_its_own(pretask):
    call = ("compare", "--methods", "baseline", "--seeds", 1)
    pretask.well(*call, *tiny(name="study"))
    files = snapshot(Path("runs"))
    pretask(*call, *tiny(name="study", lr=0.3)).fault("lr = 0.1", "lr = 0.3")
    assert snapshot(Path("runs")) == files


def test_a_run_that_fails_does_not_stop_the_study(pretask, monkeypatch):
    train = tasks.train

    def fail_for_sla(config, data=None, console=None):
        if config.method.method == "sla":
            raise PretaskError("the loss became nan")
        return train(config, data, console)

    monkeypatch.setattr(tasks, "train", fail_for_sla)
    answer = pretask("compare", "--methods", "sla", "baseline", "--seeds", 1, *tiny(name="study"))
    answer.fault("sla-epochs1-seed0: the loss became nan")
    rows = json.loads(Path("runs/study/study.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["baseline"]


def test_a_stopped_study_says_so(pretask, monkeypatch):
    def stop(*arguments):
        raise Interrupted("stopped after step 1 of 2")

    monkeypatch.setattr(tasks, "train", stop)
    answer = pretask("compare", "--methods", "baseline", "--seeds", 1, *tiny(name="study"))
    assert answer.code == 130
    assert answer.err == "pretask: stopped after step 1 of 2\n"


def test_demo_tells_the_whole_story(pretask, monkeypatch):
    monkeypatch.setitem(demo.SETTINGS, "epochs", 1)
    monkeypatch.setattr(demo, "METHODS", ("baseline", "sla"))
    text = pretask.well("demo", "--seeds", 1, "--runs", "shown")
    assert "Equal epochs" in text
    assert "Equal compute" in text
    study = json.loads(Path("shown/study.json").read_text())
    assert [(row["method"], row["budget"], row["length"]) for row in study["rows"]] == [
        ("baseline", "equal-epochs", 1),
        ("sla", "equal-epochs", 1),
        ("sla", "equal-epochs", 1),
        ("baseline", "equal-compute", 4),
        ("sla", "equal-compute", 1),
        ("sla", "equal-compute", 1),
    ]
    assert "<html" in Path("shown/report.html").read_text()


# stopping


def test_ctrl_c_leaves_a_run_that_the_same_command_finishes(pretask):
    call = ["train", *tiny(name="run", method="sla", epochs=40, eval_every=40, checkpoint_steps=1)]
    command = [sys.executable, "-m", "pretask", *call]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait_for(Path("runs/run/last/state.safetensors"), process)
            os.kill(process.pid, signal.SIGINT)
            _, err = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.startswith("pretask: stopped after step ")
    assert err.count("\n") == 1
    assert not Path("runs/run/results.json").exists()

    assert "epoch 40/40" in pretask.well("train", *call[1:])
    assert results_of("runs/run")["images"] == 40 * 50


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)


def test_ctrl_c_outside_of_a_training_is_one_line_too(pretask, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks, "train", stop)
    answer = pretask("train", *tiny())
    assert answer.code == 130
    assert answer.err == "pretask: stopped\n"
