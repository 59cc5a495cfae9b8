"""What can be wrong with a run, a file or a picture when a model is used: one line each, no file is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from command_line import Answer, CommandLine, picture, snapshot, tiny
from pretask.cli.main import main

RUN = Path("runs/done")
COMMANDS = ("evaluate", "predict", "explain", "export")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("finished")
    with pytest.raises(SystemExit) as leaving:
        main(["train", *tiny(method="baseline", runs=place, name="done")])
    assert leaving.value.code == 0
    return place / "done"


@pytest.fixture
def use(finished, tmp_path, monkeypatch, capsys):
    """Returns what a command answers about a run; checks that a fault leaves every file as it was."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, RUN)
    picture(Path("new.png"))
    more = {
        "predict": ["new.png"],
        "explain": ["--parts", "pca", "--points", "20", "--to", "drawn"],
        "export": ["animals"],
    }

    def call(command: str, run: Path, *instead: str) -> Answer:
        before = snapshot(Path())
        answer = CommandLine(capsys)(command, run, *(instead or more.get(command, ())))
        if answer.code:
            after = snapshot(Path())
            assert {name: after.get(name) for name in before} == before
        return answer

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_a_whole_run_can_be_used(use, command):
    assert use(command, RUN).code == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("folder", ["runs/nothing", "runs", "new.png"])
def test_a_folder_that_is_no_run(use, command, folder):
    use(command, Path(folder)).fault(f"no trained model in {folder}:", "give a run folder")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_model_that_lost_a_file(use, command, name):
    (RUN / name).unlink()
    use(command, RUN).fault(f"runs/done/{name} is missing", "restore it")


@pytest.mark.parametrize("command", ["evaluate", "explain"])
def test_a_run_that_lost_its_configuration(use, command):
    (RUN / "config.yaml").unlink()
    use(command, RUN).fault("runs/done is an export", "--data")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_has_no_model_yet(use, command):
    for name in ("model.json", "model.safetensors", "results.json"):
        (RUN / name).unlink()
    use(command, RUN).fault("no model yet", "`pretask train --resume runs/done`")


def test_an_unfinished_run_is_looked_at_and_not_exported(use):
    (RUN / "results.json").unlink()
    for command in ("evaluate", "predict", "explain"):
        assert use(command, RUN).code == 0
    for form in ("safetensors", "onnx", "torch-export"):
        answer = use("export", RUN, "animals", "--format", form)
        answer.fault("runs/done is not finished", "`pretask train --resume runs/done`")
    assert not Path("animals").exists()


def test_an_export_that_lost_its_model(use):
    assert use("export", RUN, "animals", "--format", "torch-export").code == 0
    Path("animals/model.pt2").unlink()
    use("predict", Path("animals")).fault("animals", "is missing")


@pytest.mark.parametrize(("command", "flags"), [("predict", []), ("explain", ["--images"])])
@pytest.mark.parametrize(
    ("content", "reason"),
    [(lambda whole: b"no picture", "no known image format"), (lambda whole: whole[:100], "truncated")],
    ids=["text", "cut"],
)
def test_a_picture_that_is_none(use, command, flags, content, reason):
    Path("no.png").write_bytes(content(Path("new.png").read_bytes()))
    use(command, RUN, *flags, "no.png").fault("no.png", reason)
    assert not (RUN / "explain").exists()


@pytest.mark.parametrize(("command", "flags"), [("predict", []), ("explain", ["--images"])])
def test_a_picture_that_is_not_there(use, command, flags):
    use(command, RUN, *flags, "no.png").fault("no.png", "give picture files")


@pytest.mark.parametrize(("command", "more"), [("export", []), ("explain", ["--to"])])
def test_a_folder_that_cannot_be_made(use, command, more):
    use(command, RUN, *more, "new.png").fault("new.png", "folder")
