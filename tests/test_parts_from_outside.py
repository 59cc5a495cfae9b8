"""A method that another distribution registers: listed, helped, trained, compared and refused like those of pretask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import pretask
from command_line import tiny

THEIRS = '''
"""A method of another distribution."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from pretask.methods.base import METHODS, MethodParts
from pretask.methods.controls import Baseline
from pretask.options import between


@METHODS.register("theirs")
class Theirs(Baseline):
    """Plain training whose loss counts a few times."""

    def __init__(
        self, parts: MethodParts, *, their_option: Annotated[float, between(1, 5), "how often the loss counts"] = 2.0
    ) -> None:
        super().__init__(parts)
        self.times = their_option

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        parts = super().forward(images, labels)
        return {**parts, "loss": self.times * parts["loss"], "their_loss": parts["loss"].detach()}
'''

CALLS = """
import contextlib, io, json, sys
from pretask.cli.main import main

answers = []
for tokens in json.load(open(sys.argv[1])):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(tokens)
        except SystemExit as leaving:
            code = leaving.code
    answers.append((code, out.getvalue(), err.getvalue()))
json.dump(answers, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, whose `site` has the distribution that registers the method."""
    folder = tmp_path_factory.mktemp("outside")
    info = folder / "site/theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "site/theirs.py").write_text(THEIRS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pretask.methods]\ntheirs = theirs\n")
    return folder


def call(folder: Path, *commands: list[str]) -> list[tuple[int, str, str]]:
    """Type commands where the distribution is installed; return exit code and both streams of each."""
    (folder / "commands.json").write_text(json.dumps(commands))
    paths = [str(folder / "site"), str(Path(pretask.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", CALLS, "commands.json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "160"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(answer) for answer in json.loads((folder / "commands.json").read_text())]


def settings_of(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())


def test_a_method_from_outside_is_listed_and_helped_with_its_option(outside: Path) -> None:
    methods, options, own, other = call(
        outside,
        ["list", "methods"],
        ["list", "options"],
        ["train", "--method", "theirs", "--help"],
        ["train", "--method", "baseline", "--help"],
    )
    assert [code for code, _, _ in (methods, options, own, other)] == [0] * 4
    lines = methods[1].splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("theirs "))
    assert "Plain training whose loss counts a few times." in lines[at]
    assert lines[at + 1].split() == ["theirs:their_option=2.0"]
    (told,) = [line for line in options[1].splitlines() if line.startswith("their_option ")]
    assert "a number from 1 to 5 [2.0] how often the loss counts; of theirs" in told
    assert "--their-option" in own[1] and "how often the loss counts" in own[1] and "[2.0]" in own[1]
    assert "--their-option" not in other[1]


def test_a_method_from_outside_trains_by_flag_by_file_and_in_a_study(outside: Path) -> None:
    (outside / "mine.yaml").write_text("method: theirs\ntheir_option: 4\n")
    answers = call(
        outside,
        ["train", *tiny(method="theirs", their_option=3, name="by-flag")],
        ["train", "--config", "mine.yaml", *tiny(name="by-file")],
        ["train", "--config", "mine.yaml", *tiny(name="by-both", their_option=5)],
        ["train", "--method", "theirs:their_option=1.5", *tiny(name="by-spec")],
        ["train", *tiny(method="theirs", their_option=3, name="by-flag", epochs=1)],
        ["train", *tiny(method="theirs", their_option=2.5, name="by-flag")],
        ["compare", "--methods", "baseline", "theirs", "theirs:their_option=4", "--seeds", "1", *tiny(name="study")],
    )  # fmt: skip
    assert [code for code, _, _ in answers] == [0, 0, 0, 0, 0, 2, 0], answers
    runs = outside / "runs"
    found = {
        name: settings_of(runs / name)["their_option"]
        for name in ("by-flag", "by-file", "by-both", "by-spec")
    }
    assert found == {"by-flag": 3.0, "by-file": 4.0, "by-both": 5.0, "by-spec": 1.5}
    last = json.loads((runs / "by-flag/metrics.jsonl").read_text().splitlines()[-1])["train"]
    assert last["loss"] == pytest.approx(3 * last["their_loss"], rel=1e-4)
    assert "their_option = 3.0, now their_option = 2.5 is asked" in answers[5][2]
    made = {settings_of(path.parent).get("their_option") for path in (runs / "study").rglob("config.yaml")}
    assert made == {None, 2.0, 4.0}
    assert "theirs:their_option=4" in answers[6][1]


def test_a_wrong_value_for_a_method_from_outside_is_told_in_a_line(outside: Path) -> None:
    (outside / "much.yaml").write_text("method: theirs\ntheir_option: much\n")
    (outside / "seven.yaml").write_text("method: theirs\ntheir_option: 7\n")
    train, compare = ["train", "--method", "theirs"], ["compare", "--methods", "baseline"]
    told = "is not possible: type --their-option with a number from 1 to 5"
    cases = {
        f"their_option = 7.0 {told}": [*train, "--their-option", "7"],
        "--their-option": [*train, "--their-option", "much"],
        "--their-opt": [*train, "--their-opt", "3"],
        "their_option = 'much' in much.yaml is not allowed: give a number": [
            "train",
            "--config",
            "much.yaml",
        ],
        f"their_option = 7 {told}": ["train", "--config", "seven.yaml"],
        "their_option=9 of method theirs is not allowed: give a number from 1 to 5": [
            *compare,
            "theirs:their_option=9",
        ],
        "method theirs 'their_optoin'; did you mean 'their_option'?": [*compare, "theirs:their_optoin=2"],
        "their": ["train", "--method", "baseline", "--their-option", "3"],
    }
    for words, (code, out, err) in zip(cases, call(outside, *cases.values()), strict=True):
        assert code == 2 and err.startswith("pretask: ") and err.count("\n") == 1, (words, err)
        assert words in err and "Traceback" not in out + err
