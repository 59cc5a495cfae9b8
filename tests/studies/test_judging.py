"""What backbones are compared by: evaluators say their metrics before anything is trained, and their columns after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from command_line import CommandLine
from pretask.config.files import build_config
from pretask.config.sections import PretrainConfig
from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS
from pretask.studies.judging import Judging
from pretask.studies.pretraining import compare_pretraining


class Contract:
    """No base class: how often the nearest train image is of the same class, and what else it likes to tell."""

    name, protocol = "own", "own/1"
    uses_features = True
    metrics: ClassVar[tuple[str, ...]] = ("kinship",)

    def __init__(self, split: str, batch_size: int, device: object) -> None:
        self.split = split

    def __call__(self, encoder: nn.Module, data: ImageData) -> dict[str, Any]:
        test = getattr(data, self.split)
        known, asked = (
            torch.stack([split.images.read(i) for i in range(300)]).float() / 255
            for split in (data.train, test)
        )
        with torch.no_grad():
            near = torch.cdist(encoder.embed(asked), encoder.embed(known)).argmin(1)
        share = (data.train.labels[near] == test.labels[:300]).float().mean()
        return {"kinship": float(share), "tasks": [1, 2], "inner": {"deep": {"of": 300}}}

    def headline(self, found: Mapping[str, Any]) -> list[tuple[object, ...]]:
        return [("kin", found["kinship"], "%")]


class Several(Contract):
    """Adds a column of its own."""

    name = "several"

    def columns(self, found: Mapping[str, Any], metric: str) -> dict[str, float]:
        return {"": found[metric], "half": found[metric] / 2}


class Silent(Contract):
    """Says no metrics."""

    name, metrics = "silent", ()


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    EVALUATORS.names()  # those of the package, before others are registered for a while
    monkeypatch.setattr(EVALUATORS, "_parts", {**EVALUATORS._parts})
    for part in (Contract, Several, Silent):
        EVALUATORS.register(part.name)(part)


def settings(folder: Path) -> PretrainConfig:
    small = {
        "data": "digits", "backbone": "resnet8", "epochs": 1, "batch_size": 256, "warmup_epochs": 0, "hidden_size": 32,
        "embedding_size": 16, "base": "byol", "threads": 1, "device": "cpu", "precision": "fp32", "loader": "resident",
        "runs": str(folder), "name": "study",
    }  # fmt: skip
    return build_config(PretrainConfig, small)


def scores(study: dict[str, Any], method: str) -> dict[str, dict[str, Any]]:
    """The rows of a method by what judged it."""
    return {row["protocol"]: row["test"] for row in study["rows"] if row["method"] == method}


def test_an_evaluator_with_nothing_but_the_contract_judges_backbones(tmp_path: Path, capsys, own) -> None:
    judging = Judging(("own", "several"), (), metric="kinship")
    study = compare_pretraining(settings(tmp_path), ("byol", "random"), judging, seeds=1)
    for method in ("byol", "random"):
        found = {protocol: test["kinship"]["mean"] for protocol, test in scores(study, method).items()}
        assert list(found) == ["own", "several", "several-half"]
        assert 0.2 < found["own"] == found["several"] == 2 * found["several-half"]
    assert study["protocol"]["several-half"] == "own/1"
    assert "kinship" in (tmp_path / "study" / "report.html").read_text()
    run = tmp_path / "study" / "random-seed0"
    out = CommandLine(capsys).well("evaluate", run, "--protocol", "own", "knn", "--device", "cpu")
    assert f"features    kin {100 * found['own']:.2f} %" in out.splitlines()


def test_options_of_evaluators_make_columns_of_their_own(tmp_path: Path) -> None:
    judging = Judging(("knn:k=5", "knn:fewer=1", "linear:per_class=3"), ())
    study = compare_pretraining(settings(tmp_path), ("byol",), judging, seeds=1)
    assert list(scores(study, "byol")) == ["knn:k=5", "knn:fewer=1", "knn:fewer=1-1", "linear:per_class=3"]
    (probes,) = (json.loads(file.read_text()) for file in (tmp_path / "study").glob("*/probes.json"))
    assert "the k=5 nearest" in probes["knn:k=5"]["protocol"]
    assert probes["linear:per_class=3"]["inferences"]["features"]["train_images"] == 30


@pytest.mark.parametrize(
    ("methods", "judging", "message"),
    [
        ("byol", {"protocols": ("knn:kk=5",)}, "unknown option of evaluator knn 'kk'; did you mean 'k'"),
        (
            "byol",
            {"protocols": ("knn", "few-shot")},
            "few-shot has no single metric.*take knn, linear, ridge",
        ),
        ("byol", {"protocols": ("silent",)}, "silent has no single metric.*take knn, linear, ridge"),
        (
            "byol",
            {"protocols": ("own",)},
            "own has no metric 'top1' .it has: kinship.: type --metric kinship",
        ),
        (
            "byol",
            {"protocols": ("knn:k=5",), "metric": "kinship"},
            "the evaluator knn:k=5 has no metric 'kinship' .it has: top1, balanced, macro_f1.: type --metric top1",
        ),
        (
            "byol",
            {"protocols": ("knn",), "metric": "macro_f1"},
            "the class head of fine-tuning .--label-fractions. has no metric 'macro_f1' .it has: top1, top5, balanced",
        ),
        (
            "byol supervised",
            {"protocols": ("knn",), "metric": "macro_f1", "label_fractions": ()},
            "the class head of the control supervised has no metric 'macro_f1'",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    tmp_path: Path, own, methods: str, judging: dict[str, Any], message: str
) -> None:
    with pytest.raises(PretaskError, match=message):
        compare_pretraining(settings(tmp_path), tuple(methods.split()), Judging(**judging), seeds=1)
    assert not list(tmp_path.iterdir())
