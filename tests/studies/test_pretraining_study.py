"""A small study of pre-training on digits: what it asks, what it leaves, what it does not make again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command_line import CommandLine, flags
from pretask import tasks
from pretask.config.files import build_config, load_any_config
from pretask.config.sections import PretrainConfig
from pretask.errors import PretaskError
from pretask.studies.judging import Judging, tuning_config
from pretask.studies.pretraining import compare_pretraining
from pretask.studies.rows import read_rows, summarise

METHODS = ("byol", "trimix:consistency_weight=0", "random", "supervised")
TUNING = {"epochs": 1, "batch_size": 32, "lr": 0.05, "selection": "last", "precision": "fp32"}
JUDGING = Judging(label_fractions=(0.5,), tuning=tuning_config(TUNING))


def settings(folder: Path, **more: object) -> PretrainConfig:
    small = {
        "data": "digits", "per_class": 60, "backbone": "resnet8", "epochs": 2, "batch_size": 128,
        "warmup_epochs": 0, "hidden_size": 32, "embedding_size": 16, "base": "byol", "threads": 1, "device": "cpu",
        "precision": "fp32", "runs": str(folder), "name": "study",
    }  # fmt: skip
    return build_config(PretrainConfig, {**small, **more})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("pretraining-study")
    return compare_pretraining(settings(folder), METHODS, JUDGING, seeds=2, equal_compute=True)


def protocols(rows: list[dict], budget: str, method: str) -> dict[str, dict]:
    """The rows of a method at a budget, by what judged."""
    return {row["protocol"]: row for row in rows if (row["budget"], row["method"]) == (budget, method)}


def test_every_backbone_is_asked_the_same_at_both_budgets(study) -> None:
    asked = ["knn", "knn-20", "linear", "50 % labels"]
    for budget, epochs in (("equal-epochs", 2), ("equal-compute", 3)):
        byol, trimix, random, supervised = (
            protocols(study["rows"], budget, name) for name in ("byol", METHODS[1], "random", "supervised")
        )
        assert list(byol) == list(trimix) == list(random) == asked and byol["knn"]["length"] == epochs
        assert list(supervised) == [*asked[:3], "own head"]
        assert byol["knn"]["difference"] is None
        assert random["linear"]["difference"]["n"] == 2
        assert supervised["own head"]["difference"] is None, "the reference has no head"
    assert protocols(study["rows"], "equal-epochs", METHODS[1])["knn"]["cost"] == pytest.approx(11 / 8)
    assert (study["reference"], study["failures"]) == ("byol", [])


def test_scores_are_those_of_the_runs(study) -> None:
    folder = Path(study["folder"])
    found = protocols(study["rows"], "equal-epochs", "byol")
    for seed in (0, 1):
        run = folder / f"byol-epochs2-seed{seed}"
        probes = json.loads((run / "probes.json").read_text())
        linear = found["linear"]["test"]["top1"]["values"][seed]
        assert linear == probes["linear"]["inferences"]["features"]["top1"]
        tuned = json.loads((folder / f"{run.name}-tuned-0.5" / "results.json").read_text())
        top1 = tuned["inferences"]["single"]["selected"]["test"]["top1"]
        assert found["50 % labels"]["test"]["top1"]["values"][seed] == top1
        assert found["50 % labels"]["inference"] == "single"
        config = load_any_config(folder / f"{run.name}-tuned-0.5" / "config.yaml")
        assert (config.backbone.init, config.data.label_fraction) == (str(run), 0.5)
        assert config.method.method == "baseline"


def test_all_start_from_the_weights_of_the_random_control(study) -> None:
    folder = Path(study["folder"])
    weights = load_file(folder / "random-seed1" / "model.safetensors")
    config = load_any_config(folder / "byol-epochs2-seed1" / "config.yaml")
    start = tasks.Pretraining.read(config).build().backbone.state_dict()
    assert weights.keys() == {f"backbone.{name}" for name in start}
    assert all(torch.equal(weights[f"backbone.{name}"], value) for name, value in start.items())


def test_what_a_study_leaves_behind(study) -> None:
    folder = Path(study["folder"])
    assert json.loads((folder / "study.json").read_text())["rows"] == study["rows"]
    assert summarise(read_rows(folder / "runs.csv"), "byol") == study["rows"]
    table, page = (folder / "table.md").read_text(), (folder / "report.html").read_text()
    assert "### Equal epochs: difference to byol" in table and "own head" in table
    assert "nearest training images name the right class" in page and "linear/1" in page


def test_a_finished_study_makes_nothing_again_but_what_is_newly_asked(
    study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a finished run was started")

    monkeypatch.setattr(tasks, "pretrain", refuse)
    monkeypatch.setattr(tasks, "train", refuse)
    runs = Path(study["folder"]).parent
    again = compare_pretraining(settings(runs), METHODS, JUDGING, seeds=2, equal_compute=True)
    assert again["rows"] == study["rows"]
    monkeypatch.undo()
    more = Judging(("knn", "linear", "ridge"), (0.5,), tuning=tuning_config(TUNING))
    wider = compare_pretraining(settings(runs), METHODS, more, seeds=2, equal_compute=True)
    before, after = (protocols(found["rows"], "equal-epochs", "byol") for found in (study, wider))
    assert list(after) == ["knn", "knn-20", "linear", "ridge", "50 % labels"]
    assert all(after[name] == row for name, row in before.items())


def test_transfer_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuning = tmp_path / "tuning.yaml"
    tuning.write_text("epochs: 1\nbatch_size: 32\nselection: last\n")
    small = {
        "data": "digits", "backbone": "resnet8", "epochs": 1, "batch_size": 256, "warmup_epochs": 0, "hidden_size": 32,
        "embedding_size": 16, "threads": 1, "device": "cpu", "runs": tmp_path, "name": "study", "seeds": 1,
        "methods": ("simclr",), "protocols": ("ridge",), "label_fractions": ("0.5",), "transfer": ("digits",),
        "tuning": tuning, "metric": "balanced",
    }  # fmt: skip
    out = CommandLine(capsys).well("compare-pretraining", *flags(small))
    assert "Equal epochs, transfer to digits" in out and "Balanced accuracy on test images" in out
    study = json.loads((tmp_path / "study" / "study.json").read_text())
    found = {(row["protocol"], row["data"]): row["test"] for row in study["rows"]}
    assert found["ridge", ""] == found["ridge", "digits"] and ("50 % labels", "digits") in found


@pytest.mark.parametrize(
    ("methods", "judging", "message"),
    [
        (("byol",), {"protocols": ("accuracy",)}, "accuracy needs a class head.*take knn, linear, ridge"),
        (("byol",), {"protocols": ("lineer",)}, "did you mean 'linear'"),
        (("byol",), {"label_fractions": (10.0,)}, "10 is no share of labels"),
        (("byol",), {"protocols": (), "label_fractions": ()}, "something to judge by"),
        (("byol",), {"transfer": ("a/x.npz", "b/x.npz")}, "two data sets of one name"),
        (("random",), {}, "a study needs different methods"),
        (("trimix:base=byoll",), {}, "did you mean 'byol'"),
    ],
)
def test_impossible_studies_are_refused(tmp_path: Path, methods, judging, message: str) -> None:
    with pytest.raises(PretaskError, match=message):
        compare_pretraining(settings(tmp_path), methods, Judging(**judging), seeds=1)
    assert not list(tmp_path.iterdir())
