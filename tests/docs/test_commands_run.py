"""Every command that a page tells to type is run, in small; the runs of most studies are planned and not made."""

from __future__ import annotations

import json
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from doc_pages import DOCS, PAGES, ROOT, blocks, commands, name_of, shell_lines
from small_commands import STUDIES, Folder, make_stage, set_flag, stand_in

from local_hub import LocalHub
from pretask.export import writing as hub

WITH_COMMANDS = [
    page for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES) if page.name != "faults.md"
]
NOT_RUN = {
    "make demo": "makes an environment; `pretask demo`, which it types, is planned below and run by tests/test_cli.py",
    "make test": "this is it",
    "make lint": "a check of the code, not a part of it",
    "make types": "a check of the code, not a part of it",
    "make check": "the three above",
    ". .venv/bin/activate": "of the shell",
    "torchrun": "tests/test_experiment.py types it for two processes; what stands behind it is run below, as one",
    "export TORCH_DISABLE": "of the shell; tests/training/test_processes.py sets it",
}
"""Lines of shell blocks that this file does not run, by how they start, and why."""
OF_SEVERAL_PROCESSES = "--shard-weights"
"""What one process refuses; tests/training/test_processes.py runs it with two."""
RUN_STANDS_FOR = {
    "--init": "simclr-photos-seed0",
    "knn": "simclr-photos-seed0",
    "few-shot": "simclr-photos-seed0",
}
"""What RUN means in the text, by a word of the command; another command takes a model with a class head."""
REALLY = "compare --data photos --methods baseline da mt sla sla-sd --seeds 3 --equal-compute"
"""The study of the README, which is run and not only planned."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Path:
    return make_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def folder(stage, tmp_path, monkeypatch) -> Folder:
    stand_in(monkeypatch)
    played = LocalHub(tmp_path / "hub")
    monkeypatch.setattr(hub, "HfApi", lambda library_name: played)
    monkeypatch.setattr(hub, "snapshot_download", played.snapshot_download)
    return Folder(stage, tmp_path / "page")


def typed(page: Path) -> list[list[str]]:
    """Return the commands of a page that are whole, those in its text with a run in place of RUN."""
    found = []
    for tokens in commands(page):
        word = next((word for word in RUN_STANDS_FOR if word in tokens), "")
        run = f"runs/{RUN_STANDS_FOR.get(word, 'sla-photos-seed0')}"
        named = [run if token == "RUN" else token for token in tokens]
        found.append([*named, "--data", "photos"] if "--init" in tokens and "RUN" in tokens else named)
    return found


def write_files(page: Path, place: Path) -> None:
    """Write the files that a page's commands read: those that it shows, or tells to make by `printf`."""
    shown = blocks(page, "yaml") if page.name == "training.md" else []
    small = {"image_size": 16, "backbone": "resnet8", "epochs": 1}
    (place / "mine.yaml").unlink(missing_ok=True)
    (place / "mine.yaml").write_text(
        yaml.safe_dump({**yaml.safe_load(shown[0]), **small} if shown else {"epochs": 1})
    )
    for line in shell_lines(page):
        if line.startswith("printf "):
            subprocess.run(["sh", "-c", line], cwd=place, check=True)


def as_one_process(tokens: list[str]) -> list[str]:
    """Return a command without what needs other processes, which take long to start and are tested by themselves."""
    alone = [token for token in tokens if token != OF_SEVERAL_PROCESSES]
    return [*alone, "--no-plain"] if alone[0] == "speed" and "--no-plain" not in alone else alone


@pytest.mark.parametrize("page", [page for page in WITH_COMMANDS if typed(page)], ids=name_of)
def test_commands_run(page, folder, stage):
    write_files(page, stage)
    for tokens in typed(page):
        if tokens[0] not in STUDIES:
            folder.run(as_one_process(tokens))
        elif tokens == shlex.split(REALLY):
            folder.run(
                [*tokens[:-3], "--equal-compute", "--seeds", "1", "--backbone", "resnet8", "--epochs", "1"]
            )
        else:
            assert len(folder.plan(tokens)) >= int(_value(tokens, "--seeds", "3"))
    if page.name in ("README.md", "photos.md"):
        assert folder.provided <= {"simclr-photos-seed0"}, "the page makes the runs that it goes on with"


def lines_of(*pages: str, script: str) -> list[str]:
    """Return the lines of pages of results that run a script."""
    lines = [line for page in pages for line in shell_lines(DOCS / f"results/{page}.md")]
    return [line for line in lines if f"benchmarks/{script}.py" in line]


def run_in_small(line: str, small: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the script of a line with some of its flags changed."""
    _, script, *flags = shlex.split(line)
    for flag, value in small.items():
        set_flag(flags, flag, value)
    monkeypatch.setattr(sys, "argv", [script, *flags])
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    finally:
        torch.set_flush_denormal(False)


def test_the_demonstration_is_planned(folder):
    methods = {trial.name.partition("-epochs")[0] for trial in folder.plan(["demo"])}
    assert methods == {"baseline", "da", "mt", "sla", "sla-sd"}


def _value(tokens: list[str], flag: str, default: str) -> str:
    return tokens[tokens.index(flag) + 1] if flag in tokens else default


@pytest.mark.parametrize("line", lines_of("step-cost", "speed", script="method_cost"))
def test_the_script_that_measures_methods_runs(line, monkeypatch, capsys):
    small = {
        "--rounds": "2",
        "--threads": "1",
        "--backbone": "resnet8",
        "--batch-size": "4",
        "--image-size": "16",
    }
    run_in_small(line, small, monkeypatch)
    assert "step ms" in capsys.readouterr().out


@pytest.mark.parametrize("line", lines_of("speed", script="convolutions"))
def test_the_script_that_measures_convolutions_runs(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_in_small(line, {"--rounds": "2", "--threads": "1", "--batch-size": "2"}, monkeypatch)
    assert " 64 channels  8x8  backwards  fp32 " in capsys.readouterr().out
    assert len(json.loads((tmp_path / "convolutions.json").read_text())["rows"]) == 6


@pytest.mark.slow
def test_the_script_that_measures_processes_runs(monkeypatch, capsys):
    lines = [line for line in shell_lines(DOCS / "results/scaling.md") if line]
    measured, _of_images, calculated = map(shlex.split, lines)
    for flag, value in {
        "--rounds": "1",
        "--epochs": "2",
        "--backbone": "resnet8",
        "--per-class": "20",
    }.items():
        set_flag(measured, flag, value)
    for words, told in ((measured, "two, own statistics"), (calculated, " 64 GPUs ")):
        monkeypatch.setattr(sys, "argv", words[1:])
        runpy.run_path(str(ROOT / words[1]), run_name="__main__")
        assert told in capsys.readouterr().out


@pytest.mark.slow
def test_the_script_that_kills_runs(tmp_path, monkeypatch, capsys):
    _, script, *flags = shlex.split(shell_lines(DOCS / "results/random-kills.md")[0])
    for flag, value in {"--kills-of-run": "1", "--kills-of-study": "0", "--folder": str(tmp_path)}.items():
        set_flag(flags, flag, value)
    monkeypatch.setattr(sys, "argv", [script, *flags])
    names = runpy.run_path(str(ROOT / script), run_name="__main__")
    assert "run: 1 kills" in capsys.readouterr().out
    whole = tmp_path / "whole-run/run"
    other = shutil.copytree(whole, tmp_path / "other")
    names["compare"](whole, other, [])
    metrics = other / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"loss": ', '"loss": 1', 1))
    with pytest.raises(SystemExit, match=r"differs from .*: \./metrics\.jsonl$"):
        names["compare"](whole, other, [])


def test_every_line_of_shell_is_run_or_has_a_reason():
    lines = [line for page in WITH_COMMANDS for line in shell_lines(page)]
    run = ("pretask ", "printf ", "python benchmarks/")
    others = [line for line in lines if line and not line.startswith(run)]
    unexplained = [line for line in others if not any(line.startswith(start) for start in NOT_RUN)]
    assert unexplained == []
    idle = [start for start in NOT_RUN if not any(line.startswith(start) for line in others)]
    assert idle == []
    assert any(REALLY in line for line in lines)
