"""Trials wherever they are made: once each, tried again where their process dies, the same on a Ray cluster."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from command_line import CommandLine, tiny
from pretask.errors import PretaskError
from pretask.studies.execute import execute
from pretask.studies.execution import Execution
from pretask.studies.executors.base import EXECUTORS, create_executor
from pretask.studies.trials import LOCKS, Trial
from pretask.training.run_folder import RunFolder

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs ray: pip install 'pretask[ray]'")


@dataclass(frozen=True)
class Mark:
    """A file that is there when a trial is finished; `begun` has a line for each time it was begun."""

    path: Path

    @property
    def begun(self) -> Path:
        return self.path.with_suffix(".begun")

    @property
    def finished(self) -> bool:
        return self.path.is_file()


def work(mark: Mark, seconds: float, deaths: int) -> str:
    """Work for a while; be killed the first few times."""
    with mark.begun.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if len(mark.begun.read_text().splitlines()) <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    mark.path.touch()
    return "worked"


def make_trials(folder: Path, count: int, seconds: float = 0.0, deaths: int = 0) -> list[Trial]:
    marks = {f"trial{i}": Mark(folder / f"trial{i}") for i in range(count)}
    return [
        Trial(name, folder / LOCKS / f"{name}.lock", mark, partial(work, mark, seconds, deaths), ())
        for name, mark in marks.items()
    ]


def run_study(folder: Path, count: int, seconds: float) -> None:
    execute(make_trials(folder, count, seconds), create_executor(Execution(jobs=1), "cpu"), folder, None)


def times_begun(trials: list[Trial]) -> list[int]:
    return [len(trial.results.begun.read_text().splitlines()) for trial in trials]


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


def test_a_trial_whose_process_dies_is_tried_again_and_the_others_go_on(tmp_path: Path) -> None:
    trials = [*make_trials(tmp_path / "a", 1, deaths=2), *make_trials(tmp_path / "b", 2)]
    for trial in trials:
        trial.results.path.parent.mkdir(exist_ok=True)
    assert execute(trials, create_executor(Execution(jobs=2), "cpu"), tmp_path, None) == []
    assert times_begun(trials) == [3, 1, 1]


def test_a_trial_that_keeps_dying_fails_and_is_told(tmp_path: Path) -> None:
    trials = make_trials(tmp_path, 1, deaths=9)
    failures = execute(trials, create_executor(Execution(jobs=2, retries=1), "cpu"), tmp_path, None)
    assert times_begun(trials) == [2]
    assert len(failures) == 1 and "trial0: its process died 2 times (signal 9)" in failures[0]


def test_two_studies_at_once_make_each_trial_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=run_study, args=(tmp_path, 4, 0.4)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    trials = make_trials(tmp_path, 4)
    assert all(trial.finished for trial in trials) and times_begun(trials) == [1, 1, 1, 1]


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = EXECUTORS.get("ray")

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("pretask.studies.executors.ray_cluster.import_module", absent)
    with pytest.raises(PretaskError, match=r"pretask\[ray\]"):
        kind(Execution(executor="ray"), "cpu")


def study_flags(runs: Path, **more: object) -> list[str]:
    return [
        *tiny(runs=runs, name="study", epochs=40, eval_every=40, checkpoint_steps=4, **more),
        "--methods", "baseline", "--seeds", "2",
    ]  # fmt: skip


def kill_the_worker_of(run: Path, lock: Path) -> None:
    """Wait until a run has a checkpoint, then kill the process that holds its lock."""
    deadline = time.time() + 120
    while not RunFolder(run).checkpoints.exist and time.time() < deadline:
        time.sleep(0.005)
    _, pid = lock.read_text().split()
    os.kill(int(pid), signal.SIGKILL)


@needs_ray
@pytest.mark.slow
def test_a_ray_study_whose_worker_is_killed_has_the_table_of_the_local_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretask = CommandLine(capsys)
    pretask.well("compare", *study_flags(tmp_path / "local"))
    study = tmp_path / "ray" / "study"
    run = study / "baseline-epochs40-seed0"
    killer = threading.Thread(target=kill_the_worker_of, args=(run, study / LOCKS / f"{run.name}.lock"))
    killer.start()
    answer = pretask("compare", *study_flags(tmp_path / "ray"), "--executor", "ray", "--jobs", "1")
    killer.join()
    assert answer.code == 0, answer.err
    assert "baseline-epochs40-seed0: its process died" in answer.out
    tables = [(tmp_path / where / "study" / "table.md").read_text() for where in ("local", "ray")]
    assert without_times(tables[0]) == without_times(tables[1])


def without_times(table: str) -> list[list[str]]:
    """Return the cells of a table but those in seconds."""
    rows = [line.split("|") for line in table.splitlines()]
    return [[cell for cell in row if not cell.strip().endswith(" s")] for row in rows]
