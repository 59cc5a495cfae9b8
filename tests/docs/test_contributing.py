"""The files that CONTRIBUTING.md tells to add are added to a copy of the package, and used together."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import ROOT

_FILE = re.compile(r"^In `src/(pretask/[^`]+)`:\n\n```\w+\n(.*?)^```$", re.M | re.S)
FILES = dict(_FILE.findall((ROOT / "CONTRIBUTING.md").read_text()))

_SESSION = """
from pretask.cli import main as cli

for command in (
    "train --recipe mean-features-stripes --name run --device cpu --threads 1",
    "evaluate runs/run --protocol surest --format json",
    "compare --recipe mean-features-stripes --methods mean-features --seeds 1 --executor fresh"
    " --device cpu --threads 1",
    "list methods", "list pretexts", "list data", "list evaluators", "list recipes",
):
    try:
        cli.main(command.split())
    except SystemExit as left:
        assert left.code == 0, command
"""


def test_there_is_one_file_of_each_kind():
    folders = sorted(Path(name).parent.as_posix() for name in FILES)
    kinds = (
        "backbones", "config/recipes", "data/sources", "evaluation", "losses", "methods", "pretexts",
        "studies/executors",
    )  # fmt: skip
    assert folders == [f"pretask/{kind}" for kind in kinds]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src/pretask", tmp_path / "pretask", ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in FILES.items():
        assert not (tmp_path / name).exists(), f"{name} is there already: choose another example"
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_new_parts_work_together(copy):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SESSION],
        cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout
    assert "method    mean-features, pretext half-roll, 4 of 4 views, poly1; answers: aggregated" in told
    assert "mean-features:views=auto" in told and ":feature_dropout=0.0" in told
    assert "backbone  two-layers" in told
    assert "data      stripes" in told
    assert '"surest/1: top-1 over' in told
    assert "[1/1] mean-features-epochs2-seed0: test aggregated" in told
    for listed in ("\nmean-features ", "\nhalf-roll ", "\nstripes ", "\nsurest ", "\nmean-features-stripes "):
        assert listed in told, listed


def test_code_is_in_the_style_of_the_project(copy):
    files = [str(copy / name) for name in FILES if name.endswith(".py")]
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *config, *files], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
