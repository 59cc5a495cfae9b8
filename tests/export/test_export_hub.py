"""The Hub, played by a local folder: what is sent is what comes back, and faults are told in one line."""

from __future__ import annotations

import json

import pytest

from command_line import CommandLine, picture_folder, untrained_run
from local_hub import LocalHub
from pretask.errors import PretaskError
from pretask.export import export_model, local_folder, push
from pretask.export import writing as hub


@pytest.fixture
def local_hub(tmp_path, monkeypatch) -> LocalHub:
    played = LocalHub(tmp_path / "hub")
    monkeypatch.setattr(hub, "HfApi", lambda library_name: played)
    monkeypatch.setattr(hub, "snapshot_download", played.snapshot_download)
    return played


@pytest.mark.parametrize("format", ["safetensors", "torch-export"])
def test_what_is_sent_comes_back(tmp_path, local_hub, capsys, format) -> None:
    run, pictures = untrained_run(tmp_path / "run"), picture_folder(tmp_path / "new", count=2)
    call = CommandLine(capsys)
    told = call.well("export", run, tmp_path / "out", "--format", format, "--push", "me/owls", "--private")
    assert "sent to hub/me/owls" in told and local_hub.private == {"me/owls": True}
    sent = {path.name for path in (tmp_path / "hub/me/owls").iterdir()}
    assert sent == {path.name for path in (tmp_path / "out").iterdir()}
    answers = [
        json.loads(call.well("predict", model, pictures, "--format", "json"))
        for model in (tmp_path / "out", "hf:me/owls", "hf:me/owls@v1")
    ]
    assert answers[0] == answers[1] == answers[2]


def test_nothing_but_an_export_is_sent_or_fetched(tmp_path, local_hub) -> None:
    folder = export_model(untrained_run(tmp_path / "run"), tmp_path / "out")
    (folder / "secrets.env").write_text("token")
    push(folder, "me/owls")
    assert not (tmp_path / "hub/me/owls/secrets.env").exists()
    (tmp_path / "hub/me/owls/run_me.py").write_text("raise SystemExit")
    assert not (local_folder("hf:me/owls") / "run_me.py").exists()


def test_faults_are_told_in_one_line(tmp_path, local_hub, capsys, monkeypatch) -> None:
    call = CommandLine(capsys)
    call("predict", "hf:me/nothing", tmp_path).fault("cannot fetch hf:me/nothing", "404 Not Found")
    with pytest.raises(PretaskError, match="no trained model"):
        push(tmp_path, "me/owls")

    def refuse(name: str, private: bool, exist_ok: bool) -> str:
        raise PermissionError("401 Unauthorized")

    monkeypatch.setattr(local_hub, "create_repo", refuse)
    run = untrained_run(tmp_path / "run")
    call("export", run, tmp_path / "out", "--push", "me/owls").fault("cannot send", "401", "hf auth login")


def test_a_path_is_a_path(tmp_path) -> None:
    assert local_folder(tmp_path / "run") == tmp_path / "run"
