"""File systems that are full, or cannot be written: real ones, where this user may mount them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from command_line import CommandLine, results_of, snapshot, tiny
from pretask.training.checkpoint import load_tree

STATE = Path("last/state.safetensors")


def mount(*options: str) -> None:
    try:
        done = subprocess.run(["mount", *options], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A file system in memory that holds two checkpoints and not three, as `disk` in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=1500k", "pretask-test", str(folder))
    yield Path("disk")
    subprocess.run(["umount", "--lazy", folder], check=True)


def train(capsys, **changes):
    return CommandLine(capsys)("train", *tiny(epochs=3, checkpoint_steps=1, **changes))


def test_a_full_disk_costs_nothing_but_time(disk, capsys):
    run, whole = disk / "run", Path("whole")
    assert train(capsys, runs=".", name="whole").code == 0
    train(capsys, runs=disk, name="run").fault("cannot write disk/run", "No space left", "free space")
    assert 0 < load_tree(run / STATE)["position"]["step"] < load_tree(whole / STATE)["position"]["step"]
    assert not [path for path in disk.rglob(".*") if path.is_file()], (
        "half a file takes the room that is left"
    )

    before = snapshot(run)
    train(capsys, runs=disk, name="run").fault("cannot write disk/run", "No space left")
    assert load_tree(run / STATE)["position"]["step"] > 0
    assert before.keys() <= snapshot(run).keys()

    mount("-o", "remount,size=64m", str(disk.resolve()))
    assert train(capsys, runs=disk, name="run").code == 0
    assert results_of(run)["inferences"] == results_of(whole)["inferences"]
    made, expected = (load_tree(folder / STATE)["method"] for folder in (run, whole))
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[name], expected[name]) for name in expected)


def test_a_disk_that_cannot_be_written_is_left_alone(disk, capsys):
    mount("-o", "remount,size=64m", str(disk.resolve()))
    assert train(capsys, runs=disk, name="done").code == 0
    shutil.copytree(disk / "done", disk / "begun")
    (disk / "begun/results.json").unlink()
    mount("-o", "remount,ro", str(disk.resolve()))
    before = snapshot(disk)
    train(capsys, runs=disk, name="new").fault("cannot make disk/new", "Read-only file system", "--runs")
    train(capsys, runs=disk, name="begun").fault("disk/begun", "Read-only file system", "--runs")
    pretask = CommandLine(capsys)
    pretask("export", disk / "done", disk / "out").fault("disk/out", "Read-only file system")
    pretask("compare", *tiny(runs=disk, name="study", methods=("baseline",))).fault("Read-only file system")
    assert train(capsys, runs=disk, name="done").code == 0, "its results can be read"
    assert pretask("evaluate", disk / "done").code == 0
    assert snapshot(disk) == before
