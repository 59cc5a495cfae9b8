"""Executors are found by name, refuse what cannot be, and share the processor."""

from __future__ import annotations

import pytest
import torch

from pretask.errors import PretaskError
from pretask.studies.execution import Execution
from pretask.studies.executors.base import EXECUTORS, create_executor


@pytest.mark.parametrize(
    ("execution", "message"),
    [
        (Execution(executor="rya"), "did you mean 'ray'"),
        (Execution(jobs=0), "--jobs 0 is not possible: type 1 or more"),
        (Execution(retries=-1), "--retries -1 is not possible"),
        (Execution(cpus_per_trial=0), "--cpus-per-trial 0 is not possible"),
        (Execution(executor="ray", gpus_per_trial=1.5), "type a part of one, as in 0.5, or a whole number"),
        (Execution(ray_address="auto"), "--ray-address means nothing to --executor local: .* --executor ray"),
    ],
)
def test_what_cannot_be_executed(execution: Execution, message: str) -> None:
    with pytest.raises(PretaskError, match=message):
        create_executor(execution, "cpu")


def test_jobs_share_the_threads_of_the_processor() -> None:
    threads = torch.get_num_threads()
    assert create_executor(Execution(), "cpu").threads is None
    assert create_executor(Execution(jobs=2), "cpu").threads == max(1, threads // 2)
    assert create_executor(Execution(jobs=99 * threads), "cpu").threads == 1
    assert create_executor(Execution(jobs=2, cpus_per_trial=3), "cpu").threads == 3


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = EXECUTORS.get("ray")

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("pretask.studies.executors.ray_cluster.import_module", absent)
    with pytest.raises(PretaskError, match=r"pretask\[ray\]"):
        kind(Execution(executor="ray"), "cpu")
