"""Runs on images that stay on the Hub: equal to those on the same files, bound to a commit, writing nothing beside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import pretask
from parquet_shards import noise, write_shards
from pretask import tasks
from pretask.config.files import from_flat
from pretask.data.loaders import streaming
from pretask.errors import Interrupted, PretaskError
from pretask.training import loop

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

from fake_hub import REPO, asked_by_this_process, serving

HERE = f"hf://datasets/{REPO}"
STEPS = 6


def write_pets(folder: Path, count: int = 60) -> Path:
    """Write pictures of 32x32 in three classes, those to validate and test on too."""
    for split, first, total in (("train", 0, count), ("validation", 1000, 12), ("test", 2000, 12)):
        images = [noise(first + i, 32) for i in range(total)]
        write_shards(folder, images, shards=2, row_group_size=6, split=split)
    return folder


@pytest.fixture
def hub(monkeypatch):
    with asked_by_this_process(monkeypatch) as hub:
        monkeypatch.setattr(streaming, "usable_cpus", lambda: 2)
        yield hub


@pytest.fixture
def settings(tmp_path, hub):
    """A function that makes the settings of a run of two epochs of three steps."""
    hub.push(write_pets(tmp_path / "pets"))

    def make(name, data=HERE, **changed):
        small = {
            "backbone": "resnet8", "threads": 1, "device": "cpu", "runs": str(tmp_path / "runs"), "name": name,
            "loader": "streaming", "workers": 2, "method": "baseline", "batch_size": 20, "epochs": 2, "data": data,
        }  # fmt: skip
        return from_flat({**small, **changed})

    return make


def stop_at(monkeypatch, step):
    real, calls = loop.set_lr, []

    def set_lr(*arguments):
        calls.append(1)
        if len(calls) == step:
            os.kill(os.getpid(), signal.SIGINT)
        real(*arguments)

    monkeypatch.setattr(loop, "set_lr", set_lr)


def test_a_run_that_stops_in_mid_epoch_ends_as_one_on_the_same_files(settings, tmp_path, monkeypatch):
    local = tasks.train(settings("local", str(tmp_path / "pets")))
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Interrupted, match=f"stopped after step 2 of {STEPS}"):
            tasks.train(settings("there"))
    there = tasks.train(settings("there"))
    weights = [(tmp_path / "runs" / name / "model.safetensors").read_bytes() for name in ("local", "there")]
    assert weights[0] == weights[1]
    assert there["data"]["name"] == REPO
    assert {**there["data"], "name": "pets", "notes": []} == {**local["data"], "notes": []}


def test_a_run_is_bound_to_the_commit_that_it_began_with(settings, hub, tmp_path, monkeypatch):
    first = hub.branches["main"]
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Interrupted):
            tasks.train(settings("bound"))
    assert f"data: {HERE}@{first}" in (tmp_path / "runs/bound/config.yaml").read_text()
    hub.push(write_pets(tmp_path / "more", 90))
    with pytest.raises(
        PretaskError, match=f"bound was started with data = {HERE}@{first}, now data = .* is asked"
    ):
        tasks.train(settings("bound"))
    results = tasks.resume(tmp_path / "runs" / "bound")
    assert results["data"]["train_images"] == 60
    assert f"read from {HERE}@{first}" in results["data"]["notes"]
    assert tasks.train(settings("bound", f"{HERE}@{first}"))["folder"] == results["folder"]


def test_a_command_writes_nothing_beside_its_run(tmp_path):
    folders = {name: tmp_path / name for name in ("home", "work")}
    for folder in folders.values():
        folder.mkdir()
    token = "hf_" + "a1B2" * 8
    # Workers' sockets need a temporary folder of a short name.
    with serving() as hub, tempfile.TemporaryDirectory() as temporary:
        hub.push(write_pets(tmp_path / "pets"))
        hub.token = token
        done = subprocess.run(
            [
                sys.executable, "-m", "pretask", "train", "--data", HERE, "--backbone", "resnet8", "--device", "cpu",
                "--method", "baseline", "--loader", "streaming", "--workers", "1", "--epochs", "1", "--batch-size",
                "20", "--threads", "1", "--name", "first",
            ],
            capture_output=True, text=True, timeout=280, cwd=folders["work"],
            env={
                **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": token,
                "HOME": str(folders["home"]), "TMPDIR": temporary, "NO_PROXY": "127.0.0.1,localhost",
                "HF_HOME": str(folders["home"] / "hub"), "PYTHONPATH": str(Path(pretask.__path__[0]).parent),
                "MPLCONFIGDIR": str(tmp_path / "fonts"),
            },
        )  # fmt: skip
        assert not list(Path(temporary).iterdir())
    assert done.returncode == 0, done.stderr
    assert (folders["work"] / "runs/first/results.json").is_file()
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.parts[:3] for path in written if path.parts[0] not in ("pets", "fonts")} == {
        ("work", "runs", "first")
    }
    texts = [path.read_bytes() for path in (folders["work"] / "runs").rglob("*") if path.is_file()]
    assert not any(token.encode() in text or b"verysecret" in text for text in texts)
    assert token not in done.stdout + done.stderr
    assert not any(path.suffix == ".parquet" for path in written if path.parts[0] == "work")
