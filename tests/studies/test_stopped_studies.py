"""A study of several jobs that is stopped, by Ctrl-C, SIGTERM or `kill -9`: its workers end, and it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from forked import Forked, forked_command


def command_of(folder: Path, seeds: int = 3, epochs: int = 80, jobs: int = 2) -> list[str]:
    return [
        "compare", "--data", "digits", "--per-class", "8", "--backbone", "resnet8",
        "--batch-size", "20", "--epochs", str(epochs), "--eval-every", "40", "--device", "cpu", "--threads", "1",
        "--methods", "baseline", "--seeds", str(seeds), "--jobs", str(jobs), "--runs", str(folder), "--name", "study",
    ]  # fmt: skip


def start_study(folder: Path, command: list[str]) -> Forked:
    """Start runs, two at a time, in a process group of their own, and wait until two are under way."""
    process = forked_command(folder / "streams", command, new_session=True)
    deadline = time.time() + 100
    while len(list(folder.glob("study/*/metrics.jsonl"))) < 2 and time.time() < deadline:
        time.sleep(0.05)
    return process


def running_in_group(group: int) -> list[int]:
    """Return the processes of a group, without those that have ended and wait to be asked how."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, _, rest = place.read_text().partition(" (")
            state, _, of_group = rest.rpartition(") ")[2].split()[:3]
            if int(of_group) == group and state != "Z":
                found.append(int(number))
    return found


def assert_none_runs_on(group: int) -> None:
    deadline = time.time() + 30  # Python's own helper processes end soon after the one that they help
    while running_in_group(group) and time.time() < deadline:
        time.sleep(0.1)
    assert running_in_group(group) == []


def assert_two_were_started_and_the_study_goes_on(folder: Path, command: list[str]) -> None:
    assert len({path.parent.name for path in folder.glob("study/*/config.yaml")}) == 2
    assert "[3/3]" in finish(folder, command)


def finish(folder: Path, command: list[str]) -> str:
    process = forked_command(folder / "streams", command)
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return out


@pytest.mark.slow
def test_a_stopped_study_of_several_jobs_ends_soon_and_goes_on(tmp_path: Path) -> None:
    """SIGINT to the group, as Ctrl-C sends it: no further run starts, and the same command finishes the study."""
    process = start_study(tmp_path, command := command_of(tmp_path))
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().endswith("the same command resumes it")
    assert_two_were_started_and_the_study_goes_on(tmp_path, command)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see the processes of a group")
def test_sigterm_to_a_study_of_several_jobs_ends_its_workers_and_keeps_what_is_finished(
    tmp_path: Path,
) -> None:
    """SIGTERM to the study alone, as a cluster sends it, when a run of it is finished and another is under way."""
    process = start_study(tmp_path, command_of(tmp_path, epochs=12))
    deadline = time.time() + 100
    while not (finished := list(tmp_path.glob("study/*/results.json"))) and time.time() < deadline:
        time.sleep(0.02)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.count("\n") == 1
    assert_none_runs_on(process.pid)
    kept = {path: path.read_bytes() for path in tmp_path.glob("study/*/results.json")}
    assert kept.keys() >= set(finished) and 0 < len(kept) < 3
    finish(tmp_path, command_of(tmp_path, epochs=12, jobs=1))
    assert len(list(tmp_path.glob("study/*/results.json"))) == 3
    assert {path: path.read_bytes() for path in kept} == kept  # the times in it would differ


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see the processes of a group")
def test_the_workers_of_a_killed_study_stop_too(tmp_path: Path) -> None:
    """`kill -9` of the study alone: its workers save and end instead of training on unseen."""
    process = start_study(tmp_path, command_of(tmp_path))
    process.kill()
    process.communicate(timeout=60)
    assert_none_runs_on(process.pid)
    assert_two_were_started_and_the_study_goes_on(tmp_path, command_of(tmp_path, jobs=1))
