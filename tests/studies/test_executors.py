"""Which executor is asked for, what cannot be asked of it, and what a study makes of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from pretask.config.files import from_flat
from pretask.data import load_data
from pretask.errors import MissingExtra, PretaskError
from pretask.studies.compare import LabelledStudy, compare
from pretask.studies.execution import Execution
from pretask.studies.executors import EXECUTORS, create_executor

SMALL = {
    "data": "digits",
    "per_class": 5,
    "backbone": "resnet8",
    "epochs": 1,
    "batch_size": 25,
    "device": "cpu",
}


def test_executors_are_found_by_name() -> None:
    assert EXECUTORS.names() == ["local", "ray"]


@pytest.mark.parametrize(
    ("execution", "message"),
    [
        (Execution(executor="rya"), "did you mean 'ray'"),
        (Execution(jobs=0), "--jobs 0 is not possible: type 1 or more"),
        (Execution(retries=-1), "--retries -1 is not possible"),
        (Execution(cpus_per_trial=0), "--cpus-per-trial 0 is not possible"),
        (Execution(executor="ray", gpus_per_trial=-1), "--gpus-per-trial -1 is not possible"),
        (Execution(executor="ray", gpus_per_trial=1.5), "type a part of one, as in 0.5, or a whole number"),
        (
            Execution(gpus_per_trial=0.5),
            "--gpus-per-trial means nothing to --executor local: .* --executor ray",
        ),
        (Execution(ray_address="auto"), "--ray-address means nothing to --executor local: .* --executor ray"),
    ],
)
def test_what_cannot_be_executed(execution: Execution, message: str) -> None:
    with pytest.raises(PretaskError, match=message) as caught:
        create_executor(execution, "cpu")
    assert "\n" not in str(caught.value)


def test_jobs_share_the_threads_of_the_processor() -> None:
    threads = torch.get_num_threads()
    assert create_executor(Execution(), "cpu").threads is None
    assert create_executor(Execution(jobs=2), "cpu").threads == max(1, threads // 2)
    assert create_executor(Execution(jobs=99 * threads), "cpu").threads == 1
    assert create_executor(Execution(jobs=2, cpus_per_trial=3), "cpu").threads == 3


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pretask\[ray\]'"):
        create_executor(Execution(executor="ray"), "cpu")


@pytest.mark.parametrize(("asked", "threads"), [({}, 1), ({"threads": 3}, 3)])
def test_a_run_that_names_its_threads_keeps_them(
    tmp_path: Path, asked: dict, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def trials(self, config):
        seen.append(config.session.threads)
        raise PretaskError("far enough")

    monkeypatch.setattr(LabelledStudy, "trials", trials)
    config = from_flat({**SMALL, **asked, "runs": str(tmp_path)})
    with pytest.raises(PretaskError, match="far enough"):
        compare(config, ("baseline",), seeds=1, execution=Execution(jobs=99))
    assert seen == [threads]


def test_objects_stay_in_this_process(tmp_path: Path) -> None:
    config = from_flat({**SMALL, "runs": str(tmp_path)})
    with pytest.raises(PretaskError, match="data given as objects cannot leave this process"):
        compare(config, ("baseline",), data=load_data("digits"), execution=Execution(jobs=2))
