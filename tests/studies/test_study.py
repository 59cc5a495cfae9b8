"""What a study decides, it decides once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretask import configure
from pretask.config.files import load_any_config
from pretask.errors import PretaskError
from pretask.io.files import write_json
from pretask.studies import study as studies
from pretask.studies.compare import compare
from pretask.studies.execution import ONE_AT_A_TIME, Execution
from pretask.studies.study import DECIDED, decide_once
from pretask.training import device


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this one a machine of other CPUs."""

    def become(cpus: int, *instructions: str) -> None:
        monkeypatch.setattr(device, "_cpu_has", instructions.__contains__)
        monkeypatch.setattr(studies, "usable_cpus", lambda: cpus)
        monkeypatch.setattr(studies, "available_threads", lambda: cpus)

    return become


def test_a_later_start_decides_as_the_first_one(machine: Callable[..., None], tmp_path: Path) -> None:
    config = configure({"device": "cpu"})
    machine(8, "amx_bf16")
    first, decided = decide_once(config, 2, Execution(jobs=4), tmp_path)
    assert (first.session.precision, first.session.threads) == ("bf16", 2)
    assert [made.line() for made in decided] == [
        "precision bf16: this CPU has AMX",
        "threads 2: a share of 8 CPUs; results depend on it, --threads fixes it for any --jobs",
    ]
    machine(4)
    later, decided = decide_once(config, None, ONE_AT_A_TIME, tmp_path)
    assert later == first
    assert {made.reason for made in decided} == {"as when the study began"}
    again, decided = decide_once(config, 1, Execution(jobs=4), tmp_path)
    assert again == first
    assert "8 threads hinder each other on 4 CPUs, type fewer --jobs" in decided[1].line()


def test_a_study_that_has_decided_on_its_precision_alone(
    machine: Callable[..., None], tmp_path: Path
) -> None:
    machine(4)
    (tmp_path / DECIDED).write_text(json.dumps({"precision": "bf16"}))
    found, _ = decide_once(configure({"device": "cpu"}), None, ONE_AT_A_TIME, tmp_path)
    assert (found.session.precision, found.session.threads) == ("bf16", 4)
    assert json.loads((tmp_path / DECIDED).read_text()) == {"precision": "bf16", "threads": 4}


def test_what_the_user_decided_stays(machine: Callable[..., None], tmp_path: Path) -> None:
    machine(4, "amx_bf16")
    config = configure({"device": "cpu", "precision": "fp32", "threads": 3})
    assert decide_once(config, 2, ONE_AT_A_TIME, tmp_path) == (config, ())
    cluster = replace(ONE_AT_A_TIME, executor="ray")
    found, decided = decide_once(configure({}), 2, cluster, tmp_path)
    assert (found.session.precision, found.session.threads, decided) == ("auto", 2, ())
    assert not (tmp_path / DECIDED).exists()


def test_a_damaged_decision_is_named(tmp_path: Path) -> None:
    (tmp_path / DECIDED).write_text("{")
    with pytest.raises(PretaskError, match=f"{DECIDED}, and the study decides again"):
        decide_once(configure({"device": "cpu"}), None, ONE_AT_A_TIME, tmp_path)


def test_all_runs_of_a_study_have_its_precision(machine: Callable[..., None], tmp_path: Path) -> None:
    machine(2, "avx512_bf16")
    config = configure({
        "data": "digits", "per_class": 8, "backbone": "resnet8", "epochs": 1, "batch_size": 16, "threads": 1,
        "device": "cpu", "runs": str(tmp_path), "name": "study",
    })  # fmt: skip
    compare(config, ("baseline", "mt"), seeds=1)
    runs = sorted((tmp_path / "study").glob("*/config.yaml"))
    assert [load_any_config(path).session.precision for path in runs] == ["bf16", "bf16"]


def test_results_depend_on_threads_that_the_study_keeps_not_on_how_many_runs_there_are_at_a_time(
    tmp_path: Path,
) -> None:
    """The second start could give its trials two threads; the models are those of the first, bit for bit."""
    settings = {
        "data": "digits", "per_class": 8, "backbone": "resnet8", "epochs": 1, "batch_size": 16, "lr": 0.1,
        "device": "cpu", "precision": "fp32", "runs": str(tmp_path),
    }  # fmt: skip
    for name, threads in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        folder.mkdir()
        write_json(folder / DECIDED, {"threads": 1})
        torch.set_num_threads(threads)
        compare(configure({**settings, "name": name}), ("baseline",), seeds=1)
    one, two = (next((tmp_path / name).glob("*/model.safetensors")) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert load_any_config(two.parent / "config.yaml").session.threads == 1
