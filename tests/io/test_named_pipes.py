"""A named pipe where a file is expected is told at once: reading it would wait for a writer that never comes."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from command_line import CommandLine, picture_folder, tiny, untrained_run
from pretask.errors import PretaskError
from pretask.io.documents import read_json
from pretask.io.tensors import DamagedFile, read_tensors

SECONDS = 30


@pytest.fixture
def pipe(tmp_path, monkeypatch):
    """Make pipes; one that is read after all ends after some time, so that the test fails and does not hang."""
    monkeypatch.chdir(tmp_path)
    timers = []

    def end(path: Path) -> None:
        with suppress(OSError):  # nobody reads it
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        timers.append(threading.Timer(SECONDS, end, (path,)))
        timers[-1].start()
        return path

    yield make
    for timer in timers:
        timer.cancel()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("photos/cat/03.png", "photos", "photos/cat/03.png (it is no regular file)"),
        ("a.npz", "a.npz", "a.npz (it is no regular file)"),
        ("a.parquet", "a.parquet", "a.parquet (it is no regular file)"),
        ("shards/train.parquet", "shards", "shards/train.parquet (it is no regular file)"),
    ],
)
def test_as_data(pipe, capsys, name, data, words):
    picture_folder(Path("photos"))
    pipe(name)
    CommandLine(capsys)("train", *tiny(data=data, per_class=None)).fault(words)


def test_as_a_configuration(pipe, capsys):
    pipe("mine.yaml")
    CommandLine(capsys)("train", "--config", "mine.yaml").fault("no configuration file mine.yaml")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.json", "no trained model in run"),
        ("model.safetensors", "run/model.safetensors is missing"),
    ],
)
def test_as_a_part_of_a_model(pipe, capsys, name, words):
    untrained_run(Path("run"))
    pipe(f"run/{name}")
    picture_folder(Path("new"))
    CommandLine(capsys)("predict", "run", "new").fault(words)


def test_as_documents_and_tensors(pipe):
    with pytest.raises(PretaskError, match="no regular file"):
        read_json(pipe("a.json"), "make it again")
    with pytest.raises(DamagedFile, match="no regular file"):
        read_tensors(pipe("a.safetensors"))
