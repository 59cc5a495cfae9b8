"""A configuration says its kind: in what a run writes, in files of a user's, and where a run goes on."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from command_line import CommandLine, flags
from pretask import tasks
from pretask.config.files import KIND, AnyConfig, load_any_config, save_config
from pretask.errors import PretaskError
from pretask.tasks.run import run_task
from pretask.training import loop
from pretask.training.run_folder import RunFolder

WITHOUT_KIND = Path(__file__).parent / "without_kind"
"""Files that runs wrote when their keys alone told what they were."""
COMMANDS = {"supervised": "train", "pretraining": "pretrain", "episodes": "few-shot"}
KINDS = list(COMMANDS)


@pytest.fixture
def pretask(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def config_of(kind: str, folder: Path, name: str = "run") -> AnyConfig:
    return load_any_config(WITHOUT_KIND / f"{kind}.yaml", runs=str(folder), name=name, checkpoint_steps=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_kind_is_known_by_its_keys(kind: str, tmp_path: Path) -> None:
    config = config_of(kind, tmp_path)
    assert (config.kind, config.command) == (kind, COMMANDS[kind])
    assert tasks.task_of(config).kind == kind
    save_config(config, tmp_path / "config.yaml")
    assert next(iter(yaml.safe_load((tmp_path / "config.yaml").read_text()))) == KIND
    assert load_any_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_whose_file_has_no_kind_goes_on_to_the_same_end(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_task(tasks.task_of(config_of(kind, tmp_path)), config_of(kind, tmp_path, "whole"))
    save, calls = loop.save_snapshot, itertools.count(1)

    def stop(*parts: object) -> None:
        save(*parts)
        if next(calls) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "save_snapshot", stop)
        run_task(tasks.task_of(config_of(kind, tmp_path)), config_of(kind, tmp_path))
    run = RunFolder(tmp_path / "run")
    run.config.write_text((WITHOUT_KIND / f"{kind}.yaml").read_text())
    resumed = tasks.resume(run.path)
    assert (resumed["kind"], resumed["epochs"], resumed["images"]) == (kind, 2, whole["images"])
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "run")]
    assert models[0] == models[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("old", [True, False])
def test_a_file_that_was_cut_short_is_noticed(kind: str, old: bool, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    if old:
        path.write_text((WITHOUT_KIND / f"{kind}.yaml").read_text())
    else:
        save_config(config_of(kind, tmp_path), path)
    lines, count = path.read_text().splitlines(keepends=True), len(yaml.safe_load(path.read_text()))
    assert lines[0] == f"# {count} settings\n" and load_any_config(path).kind == kind
    path.write_text("".join(lines[:-1]))
    with pytest.raises(PretaskError, match=f"has {count - 1} of {count} settings"):
        load_any_config(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS.values())
def test_a_command_takes_files_of_its_kind_alone(
    pretask: CommandLine, kind: str, command: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"kind: {kind}\nepochs: 0\n")
    answer = pretask(command, "--config", path, *flags({"runs": tmp_path, "device": "cpu"}))
    if COMMANDS[kind] == command:
        answer.fault("epochs = 0")
    else:
        answer.fault("mine.yaml is for a", f"type `pretask {COMMANDS[kind]}`")


def test_an_unknown_kind_is_refused_with_the_nearest(tmp_path: Path) -> None:
    for given in ("supervise", ["supervised"], None):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"kind": given}))
        with pytest.raises(PretaskError, match="unknown kind of configuration"):
            load_any_config(tmp_path / "mine.yaml")
    with pytest.raises(PretaskError, match="'supervise'; did you mean 'supervised'"):
        tasks.task_of(load_any_config(WITHOUT_KIND / "supervised.yaml", kind="supervise"))


def test_the_command_line_goes_on_with_a_run_of_any_kind(pretask: CommandLine, tmp_path: Path) -> None:
    said = {
        "supervised": "distilled   selected test",
        "pretraining": "pretask train --init",
        "episodes": "± ",
    }
    for kind, words in said.items():
        run_task(tasks.task_of(config_of(kind, tmp_path)), config_of(kind, tmp_path, kind))
        out = pretask.well("train", "--resume", tmp_path / kind)
        assert "is finished" in out and words in out
