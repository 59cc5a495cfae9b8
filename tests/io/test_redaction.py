"""No file of a run or a study holds a password or token, however it came to the process."""

from __future__ import annotations

import sys

import pytest

from command_line import CommandLine, snapshot, tiny
from pretask.io import redaction

HUB, OTHER, SHORT = "hf_" + "Qz7" * 11, "vX9-pL2-kJ8-wQ4-zR6", "hunter2"


@pytest.fixture
def pretask(tmp_path, monkeypatch, capsys):
    """The command, called by a launcher that was given secrets, in an environment that holds some."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("HF_TOKEN", HUB), ("WANDB_API_KEY", OTHER), ("AWS_SECRET_ACCESS_KEY", OTHER[::-1])):
        monkeypatch.setenv(name, value)
    given = [
        "--api-key",
        SHORT,
        f"--db-password={SHORT}",
        f"--note={OTHER}",
        f"s3://me:{SHORT}@host/{HUB}?token={SHORT}",
    ]
    monkeypatch.setattr(sys, "argv", ["launcher.py", *given])
    return CommandLine(capsys)


def assert_no_secret(folder, *told):
    files = snapshot(folder)
    for name, content in {**files, **{f"stream {i}": text.encode() for i, text in enumerate(told)}}.items():
        for secret in (HUB, OTHER, OTHER[::-1], SHORT):
            assert secret.encode() not in content, name
    return files


def test_a_run(pretask, tmp_path):
    answer = pretask("train", *tiny(name="run"))
    assert answer.code == 0, answer.err
    files = assert_no_secret(tmp_path, answer.out, answer.err)
    command = files["runs/run/environment.json"].decode()
    assert "launcher.py --api-key" in command
    assert command.count(redaction.HIDDEN) >= 5


def test_a_study_with_a_run_that_fails(pretask, tmp_path, monkeypatch):
    def fail(*given, **options):
        raise OSError(f"401 for https://me:{SHORT}@host?token={SHORT} with {HUB} and {OTHER}")

    monkeypatch.setattr("pretask.tasks.train", fail)
    answer = pretask("compare", *tiny(name="study", methods=("baseline",), seeds=1))
    assert answer.code != 0
    assert_no_secret(tmp_path, answer.out, answer.err)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": HUB}, "name in the flags holds a password or token"),
        ({"data": f"hf:me/cats?token={HUB}"}, ""),
        ({"data": f"https://me:{SHORT}@host/cats"}, "data in the flags holds a password or token"),
    ],
    ids=["name", "query", "address"],
)
def test_a_setting_that_holds_a_secret_is_not_written_and_not_told(pretask, tmp_path, changes, words):
    answer = pretask("train", *tiny(**changes))
    answer.fault(words)
    assert assert_no_secret(tmp_path, answer.out, answer.err) == {}
