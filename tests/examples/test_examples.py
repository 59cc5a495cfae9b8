"""Every example runs as a program, on one core, without a warning; one of them from a shell."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

from forked import Forked

FOLDER = Path(__file__).parents[2] / "examples"
SAYS = {
    "plain_pytorch.py": r"aggregated: [\d.]+ % of 597 test images\nsingle: ",
    "timm_loop.py": r"epoch 1: loss [\d.]+(.|\n)*distilled: [\d.]+ % of 599 test images",
    "fine_tune_folder.py": r"equal-compute, sla-sd distilled: [\d.]+ %(.|\n)*report.html",
    "timm_backbone.py": r"test_resnet: 0\.37 M parameters(.|\n)*distilled: (.|\n)*10 classes, 1 pass per image",
    "own_pretext.py": r"pretext half-roll, 4 of 4 views(.|\n)*aggregated: ",
    "own_evaluator.py": r"selective/1: top-1 over(.|\n)*aggregated: [\d.]+ % of 479 test images\nsingle: ",
    "lightning_module.py": r"validation/top1",
}

FROM_A_SHELL = "plain_pytorch.py"
SMALLER = {"fine_tune_folder.py": ("--image-size", "16")}


def run(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ["-W", "error"] if name != "lightning_module.py" else []
    return subprocess.run(
        [sys.executable, *quiet, str(FOLDER / name), *arguments],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def run_forked(folder: Path, *arguments: str) -> None:
    """Run an example in this process, which was forked."""
    os.chdir(folder)
    sys.argv = list(arguments)
    warnings.resetwarnings()
    warnings.simplefilter("error")
    runpy.run_path(arguments[0], run_name="__main__")


def test_every_example_is_tried():
    assert {path.name for path in FOLDER.glob("*.py")} == set(SAYS)


def test_an_example_runs_from_a_shell(tmp_path):
    done = run(FROM_A_SHELL, tmp_path, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[FROM_A_SHELL], done.stdout), done.stdout


@pytest.mark.parametrize("name", [name for name in SAYS if name not in (FROM_A_SHELL, "lightning_module.py")])
def test_example_runs(name, tmp_path):
    arguments = ("--epochs", "1", *SMALLER.get(name, ()))
    process = Forked(tmp_path / "streams", run_forked, tmp_path, str(FOLDER / name), *arguments)
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert re.search(SAYS[name], out), out


def test_lightning_example_runs(tmp_path):
    if find_spec("lightning") is None:
        pytest.skip("the package lightning is not installed")
    done = run("lightning_module.py", tmp_path, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS["lightning_module.py"], done.stdout), done.stdout


def test_lightning_example_tells_what_is_missing(tmp_path):
    if find_spec("lightning") is not None:
        pytest.skip("the package lightning is installed")
    done = run("lightning_module.py", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "this example needs the package lightning: type `pip install lightning`\n"


@pytest.mark.parametrize("name", SAYS)
def test_example_is_short(name):
    assert len((FOLDER / name).read_text().splitlines()) <= 70
