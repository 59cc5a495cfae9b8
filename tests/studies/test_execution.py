"""What a study makes of how it is to be executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretask.data import load_data
from pretask.errors import PretaskError
from pretask.studies.compare import LabelledStudy, compare
from pretask.studies.execution import Execution
from pretask.studies.executors.base import EXECUTORS
from pretask.training.config_files import from_flat

SMALL = {
    "data": "digits",
    "per_class": 5,
    "backbone": "resnet8",
    "epochs": 1,
    "batch_size": 25,
    "device": "cpu",
}


def test_executors_are_found_by_name():
    assert EXECUTORS.names() == ["local", "ray"]


@pytest.mark.parametrize(("asked", "threads"), [({}, 1), ({"threads": 3}, 3)])
def test_a_run_that_names_its_threads_keeps_them(tmp_path: Path, asked, threads, monkeypatch):
    seen = []

    def trials(self, config):
        seen.append(config.session.threads)
        raise PretaskError("far enough")

    monkeypatch.setattr(LabelledStudy, "trials", trials)
    config = from_flat({**SMALL, **asked, "runs": str(tmp_path)})
    with pytest.raises(PretaskError, match="far enough"):
        compare(config, ("baseline",), seeds=1, execution=Execution(jobs=99))
    assert seen == [threads]


def test_objects_stay_in_this_process(tmp_path: Path):
    config = from_flat({**SMALL, "runs": str(tmp_path)})
    with pytest.raises(PretaskError, match="data given as objects cannot leave this process"):
        compare(config, ("baseline",), data=load_data("digits"), execution=Execution(jobs=2))
