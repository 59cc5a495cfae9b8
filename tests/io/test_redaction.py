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


ADDRESSES = (
    "hf://me:hunter2@host/cats", "hf://hunter2@host", "hf:/me:hunter2@host/cats", "hf:/hunter2@host/cats",
    "hf:me:hunter2@host", "hf://me:x@hunter2@host", "https://host/x?pass=hunter2", "https://host/x?a=1&db_pass=hunter2",
)  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_secrets_in_addresses(address):
    hidden = redaction.without_known_secrets(f"cannot read {address}: it is away")
    assert SHORT not in hidden and redaction.HIDDEN in hidden and hidden.endswith(" it is away")


@pytest.mark.parametrize(
    "kept", ["hf://datasets/me/cats@v1", "C:/data/me@home", "me@host", "runs/a:b@c", "hf:me/cats@v1"]
)
def test_what_is_no_secret_stays(kept):
    assert redaction.without_known_secrets(kept) == kept


def test_values_of_variables_by_their_names(monkeypatch):
    for name in ("DB_PASS", "PGPASS", "MYSQL_PWD", "SMTP_AUTH", "KEY_PASSPHRASE", "DB_PASSWD"):
        monkeypatch.setenv(name, OTHER)
        assert redaction.without_secrets(f"of {OTHER}!") == "of ***!", name
        monkeypatch.setenv(name, SHORT)
        assert redaction.without_secrets(f"of {SHORT}, {SHORT}3") == f"of ***, {SHORT}3", name
        monkeypatch.setenv(name, "digits")  # a word that stands elsewhere too
        assert redaction.without_secrets("data digits") == "data digits", name
        monkeypatch.delenv(name)
    for name in ("PASSES", "COMPASS", "PWD", "OLDPWD", "AUTHORS", "BYPASSED"):
        monkeypatch.setenv(name, OTHER)
        assert redaction.without_secrets(f"of {OTHER}") == f"of {OTHER}", name
        monkeypatch.delenv(name)
    assert redaction.arguments_without_secrets(["--db-pass", SHORT, "--passes", "3"]) == [
        "--db-pass", "***", "--passes", "3",
    ]  # fmt: skip


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
