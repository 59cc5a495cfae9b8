"""What a study decides, it decides once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pretask import configure
from pretask.config.files import load_any_config
from pretask.errors import PretaskError
from pretask.studies import study as studies
from pretask.studies.compare import compare
from pretask.studies.execution import ONE_AT_A_TIME
from pretask.studies.study import DECIDED, decide_precision


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine so busy that each timing turns out otherwise than the one before it."""
    made: list[str] = []

    def resolve(asked: str, device: object) -> str:
        made.append("fp32" if len(made) % 2 else "bf16")
        return made[-1] if asked == "auto" else asked

    monkeypatch.setattr(studies, "resolve_precision", resolve)
    return made


def test_a_second_start_decides_as_the_first_one(timings: list[str], tmp_path: Path) -> None:
    config = configure({"device": "cpu"})
    found = [decide_precision(config, ONE_AT_A_TIME, tmp_path).session.precision for _ in range(3)]
    assert found == ["bf16"] * 3
    assert len(timings) == 1


def test_what_the_user_decided_stays(timings: list[str], tmp_path: Path) -> None:
    config = configure({"device": "cpu", "precision": "fp32"})
    assert decide_precision(config, ONE_AT_A_TIME, tmp_path) is config
    cluster = replace(ONE_AT_A_TIME, executor="ray")
    assert decide_precision(configure({}), cluster, tmp_path).session.precision == "auto"
    assert not (tmp_path / DECIDED).exists()


def test_a_damaged_decision_is_named(tmp_path: Path) -> None:
    (tmp_path / DECIDED).write_text("{")
    with pytest.raises(PretaskError, match=f"{DECIDED}, and the study decides again"):
        decide_precision(configure({"device": "cpu"}), ONE_AT_A_TIME, tmp_path)


def test_all_runs_of_a_study_have_its_precision(timings: list[str], tmp_path: Path) -> None:
    config = configure({
        "data": "digits", "per_class": 8, "backbone": "resnet8", "epochs": 1, "batch_size": 16, "threads": 1,
        "device": "cpu", "runs": str(tmp_path), "name": "study",
    })  # fmt: skip
    compare(config, ("baseline", "mt"), seeds=1)
    runs = sorted((tmp_path / "study").glob("*/config.yaml"))
    assert [load_any_config(path).session.precision for path in runs] == ["bf16", "bf16"]
