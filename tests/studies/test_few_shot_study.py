"""A small study of training by episodes on digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import CommandLine, flags
from pretask import tasks
from pretask.config.files import build_config
from pretask.config.sections import FewShotConfig
from pretask.errors import PretaskError
from pretask.studies.few_shot import compare_few_shot
from pretask.studies.rows import read_rows, summarise

SMALL = {
    "data": "digits", "backbone": "resnet8", "epochs": 1, "episodes": 3, "ways": 2, "queries": 3, "test_episodes": 30,
    "threads": 1, "device": "cpu", "precision": "fp32", "name": "study",
}  # fmt: skip
METHODS = ("prototypes", "prototypes:pretexts=rotation2")


def settings(folder: Path) -> FewShotConfig:
    return build_config(FewShotConfig, {**SMALL, "runs": str(folder)})


def test_a_study_from_the_command_line_and_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**SMALL, "runs": tmp_path, "methods": METHODS, "seeds": 2, "equal_compute": True}
    command = ["compare-few-shot", *flags(asked)]
    out = CommandLine(capsys).well(*command)
    assert "2 methods x 2 seeds, 6 runs" in out and "Equal compute" in out
    study = json.loads((tmp_path / "study" / "study.json").read_text())
    rows = {(row["budget"], row["method"], row["inference"]): row for row in study["rows"]}
    plain, joint = METHODS
    assert list(rows)[:3] == [
        ("equal-epochs", *row) for row in ((plain, "single"), (joint, "aggregated"), (joint, "single"))
    ]
    assert rows["equal-compute", plain, "single"]["length"] == 2
    assert [rows["equal-epochs", name, "single"]["cost"] for name in METHODS] == [1, 2]
    for seed, folder in enumerate(sorted((tmp_path / "study").glob("prototypes-pretexts*"))):
        told = json.loads((folder / "results.json").read_text())["few_shot"]
        for inference, found in told.items():
            assert rows["equal-epochs", joint, inference]["test"]["top1"]["values"][seed] == found["top1"]
    assert summarise(read_rows(tmp_path / "study" / "runs.csv")) == study["rows"]

    def refuse(*arguments: object) -> None:
        raise AssertionError("a finished run was started")

    monkeypatch.setattr(tasks, "train_few_shot", refuse)
    again = compare_few_shot(settings(tmp_path), METHODS, seeds=2, equal_compute=True)
    assert again["rows"] == study["rows"]


@pytest.mark.parametrize(
    ("methods", "message"),
    [((), "different methods"), (("means",), "few-shot head"), (("ridge:pretexts=turn",), "unknown pretext")],
)
def test_impossible_studies_are_refused(tmp_path: Path, methods, message: str) -> None:
    with pytest.raises(PretaskError, match=message):
        compare_few_shot(settings(tmp_path), methods, seeds=1)
