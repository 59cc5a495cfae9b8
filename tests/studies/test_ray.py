"""Trials on a Ray cluster: the same table, whatever is killed; what is said of places that will not do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pretask
from pretask.config.files import from_flat
from pretask.errors import PretaskError
from pretask.studies.compare import compare
from pretask.studies.execution import Execution
from pretask.studies.executors import create_executor
from pretask.studies.executors.ray_cluster import _Place, _require_token
from pretask.training.run_folder import versions

pytest.importorskip("ray", reason="needs the extra ray")

SMALL = {
    "data": "digits", "per_class": 8, "backbone": "resnet8", "epochs": 120, "batch_size": 20, "eval_every": 20,
    "threads": 1, "device": "cpu", "precision": "fp32", "name": "study",
}  # fmt: skip
OF_A_MACHINE = {"object_store_memory": 80 * 2**20}


def start(folder: Path, *more: str, seeds: int = 1, **changed: object) -> subprocess.Popen[str]:
    """Start a study on a cluster of its own or as more flags say, in a process group of its own."""
    settings = {**SMALL, **changed}
    flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return subprocess.Popen(
        [sys.executable, "-m", "pretask", "compare", "--executor", "ray", "--methods", "baseline", "--seeds",
         str(seeds), "--runs", str(folder), "--checkpoint-seconds", "0.2", *flags, *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has it ignored
        env={**os.environ, "PYTHONPATH": str(Path(pretask.__path__[0]).parent)},
    )  # fmt: skip


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> Path:
    while not (found := sorted(folder.glob(pattern))):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return found[0]


def rows(study: dict) -> list[dict]:
    """Return the table without what a clock decides."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in study["rows"]]


@pytest.mark.slow
def test_a_study_that_is_stopped_and_whose_worker_is_killed_has_the_table_of_the_local_executor(tmp_path):
    """Ctrl-C in mid-trial, the same command again, `kill -9` of the worker in mid-trial; it goes on each time."""
    stopped = start(tmp_path)
    wait_for(tmp_path, "study/*/last/state.safetensors", stopped)
    os.killpg(stopped.pid, signal.SIGINT)
    out, errors = stopped.communicate(timeout=200)
    assert stopped.returncode == 130, (out, errors)
    assert errors == "pretask: the study was stopped; the same command resumes it\n"

    again = start(tmp_path)
    (lock,) = tmp_path.glob("study/.locks/baseline-*")
    begun = lock.stat().st_mtime
    while lock.stat().st_mtime == begun or not lock.read_text():
        assert again.poll() is None, again.communicate()
        time.sleep(0.02)
    machine, worker = lock.read_text().split()
    assert machine == socket.gethostname()
    os.kill(int(worker), signal.SIGKILL)
    out, errors = again.communicate(timeout=250)
    assert (again.returncode, errors) == (0, ""), (out, errors)
    assert f"{lock.stem}: its process died" in out and "resumes from its checkpoint (1 of 3)" in out
    assert "[1/1]" in out and not list(tmp_path.glob("study/.seen*"))

    found = json.loads((tmp_path / "study/study.json").read_text())
    local = compare(from_flat({**SMALL, "runs": str(tmp_path / "local")}), ("baseline",), seeds=1)
    assert found["failures"] == [] and rows(found) == rows(local)


@pytest.fixture(autouse=True)
def no_niceness(monkeypatch):
    """Let trials have their share of the processor beside other tests; Ray gives way to all that runs."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture
def cluster(no_niceness):
    """A cluster of machines, all of them here, that has begun with one without a GPU."""
    utils = pytest.importorskip("ray.cluster_utils")
    soon = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 1000,
        "health_check_failure_threshold": 3,
    }
    head = {"num_cpus": 1, "_system_config": soon, **OF_A_MACHINE}
    started = utils.Cluster(initialize_head=True, head_node_args=head)
    yield started
    started.shutdown()


@pytest.mark.slow
def test_trials_share_the_gpu_of_a_machine_and_outlive_it(tmp_path, cluster):
    """Ray counts GPUs as it is told, so machines can have one that is not there."""
    machine = cluster.add_node(num_cpus=2, num_gpus=1, **OF_A_MACHINE)
    cluster.wait_for_nodes()
    flags = ("--ray-address", cluster.address, "--gpus-per-trial", "0.5")
    study = start(tmp_path, *flags, seeds=2, epochs=400)  # some seconds, in which both begin
    begun = [
        wait_for(tmp_path, f"study/baseline-*seed{seed}/last/state.safetensors", study) for seed in (0, 1)
    ]
    assert len(begun) == 2 and not list(tmp_path.glob("study/*/results.json")), "both are made at once"
    cluster.remove_node(machine, allow_graceful=False)
    cluster.add_node(num_cpus=2, num_gpus=1, **OF_A_MACHINE)
    out, errors = study.communicate(timeout=250)
    assert (study.returncode, errors) == (0, ""), (out, errors)
    assert "Ray: 2 machines with 3 CPUs and 1 GPU; a trial takes 1 CPU and 0.5 GPUs" in out
    assert out.count("its machine left the cluster") == 2 and "[2/2]" in out

    found = json.loads((tmp_path / "study/study.json").read_text())
    longer = {**SMALL, "epochs": 400, "runs": str(tmp_path / "local")}
    local = compare(from_flat(longer), ("baseline",), seeds=2)
    assert found["failures"] == [] and rows(found) == rows(local)


def test_a_trial_needs_a_machine_with_room():
    executor = create_executor(Execution("ray", cpus_per_trial=4, gpus_per_trial=0.5), "auto")
    executor._gpus = 0.5
    with pytest.raises(
        PretaskError, match=r"takes 4 CPUs and 0.5 GPUs and this machine has 2 CPUs: type smaller"
    ):
        executor._describe([{"CPU": 2.0}])
    executor.execution = Execution("ray", cpus_per_trial=4, gpus_per_trial=0.5, ray_address="auto")
    assert "waiting for one to join" in executor._describe([{"CPU": 2.0}, {"CPU": 8.0}])
    told = executor._describe([{"CPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}])
    assert told == "Ray: 2 machines with 10 CPUs and 1 GPU; a trial takes 4 CPUs and 0.5 GPUs"


def test_a_cluster_that_asks_for_no_token_is_not_started(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    _require_token("2.59.0")
    _require_token("3.0.0rc1")
    with pytest.raises(
        PretaskError, match=r"Ray 2\.52\.1 runs the code of anybody on the network: type .*RAY_AUTH_MODE"
    ):
        _require_token("2.52.1")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    _require_token("2.52.1")


def test_an_address_where_no_cluster_is_is_told_in_one_line(tmp_path):
    executor = create_executor(Execution("ray", ray_address="127.0.0.1:nowhere"), "cpu")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        PretaskError, match=r"cannot join a Ray cluster at 127.0.0.1:nowhere .*ray start --head"
    ) as caught:
        executor.start(tmp_path)
    executor.stop()
    assert signal.getsignal(signal.SIGTERM) == handler, "Ray sets its own"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"folder": Path("/nowhere/at/all")},
            "cannot see /nowhere/at/all: work in a folder, and give a --runs folder",
        ),
        ({"mark": Path("/nowhere/study/.seen")}, "cannot see /nowhere/study: "),
        (
            {"versions": {**versions(), "torch": "1.0"}},
            r"has torch .*, that of the command 1\.0: install the same",
        ),
    ],
)
def test_a_machine_that_differs_is_told_in_one_line(tmp_path, change, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / ".seen"
    mark.touch()
    settings = {"folder": tmp_path, "mark": mark, "arguments": ("pretask",), "versions": versions()}
    monkeypatch.setattr(sys, "argv", ["worker"])
    _Place(**settings).take()
    assert sys.argv == ["pretask"]
    with pytest.raises(PretaskError, match=message) as caught:
        _Place(**{**settings, **change}).take()
    assert str(caught.value).startswith(socket.gethostname()) and "\n" not in str(caught.value)
