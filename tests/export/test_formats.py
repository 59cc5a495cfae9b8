"""Exports in other formats answer as the run does, and are read by `pretask predict`."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from command_line import CommandLine, picture_folder, untrained_run
from pretask.errors import MissingExtra, PretaskError
from pretask.export import FORMATS, export_model, load_model, onnx_model
from pretask.methods import METHODS, load_classifier, read_card

PROGRAMS = ("torch-export", "onnx")
GREY_NEEDS_NO_COLOUR = {"gssl", "gssl-perm", "gssl-ungated"}


def structures(channels: int) -> list[tuple[str, str]]:
    """Return (method, inference) for every different way to answer among all methods: views, layer and head.

    Methods that answer alike share a line: after training, what `lorot` deploys is what `baseline` does.
    """
    seen: dict[tuple, tuple[str, str]] = {}
    for name in METHODS.names():
        if channels == 1 and name in GREY_NEEDS_NO_COLOUR:
            continue
        method = untrained(name, channels)
        for inference in method.inferences:
            classifier = method.classifier(inference)
            key = (
                classifier.reading,
                tuple(pretext.name for pretext in classifier.encoder.pretexts),
                classifier.encoder.layer,
                classifier.head.out_features,
            )
            seen.setdefault(key, (name, inference))
    return list(seen.values())


def untrained(method: str, channels: int):
    from pretask.backbones import create_backbone
    from pretask.methods import MethodParts, create_method

    backbone = create_backbone("resnet8", image_size=(16, 16), in_channels=channels)
    counts, values = torch.ones(3, dtype=torch.int64), (0.5,) * channels
    return create_method(method, MethodParts(backbone, counts, mean=values, std=values))


CASES = [(channels, *pair) for channels in (1, 3) for pair in structures(channels)]


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "method", "inference"), CASES)
def test_programs_answer_as_the_run_does(tmp_path: Path, channels: int, method: str, inference: str) -> None:
    run = untrained_run(tmp_path / "run", channels=channels, method=method)
    expected = load_classifier(run, inference)
    for format in PROGRAMS:
        folder = export_model(run, tmp_path / format, inference, format)
        written = load_model(folder)
        for count in (1, 7):
            images = torch.rand(count, channels, 16, 16)
            with torch.no_grad():
                torch.testing.assert_close(written(images), expected(images), rtol=0, atol=1e-4)
        assert read_card(folder).inference == inference
        assert {path.name for path in folder.iterdir()} == {FORMATS[format].file, "model.json", "README.md"}


def test_every_kind_of_answer_is_among_the_cases() -> None:
    readings = {untrained(method, channels).classifier(mode).reading for channels, method, mode in CASES}
    assert readings == {"plain", "first", "mean", "joint", "columns"}


@pytest.mark.parametrize("format", PROGRAMS)
def test_predictions_are_those_of_the_run(tmp_path: Path, capsys, format: str) -> None:
    run, pictures = untrained_run(tmp_path / "run"), picture_folder(tmp_path / "new", count=2)
    call = CommandLine(capsys)
    told = call.well("export", run, tmp_path / "out", "--format", format, "--inference", "single")
    assert FORMATS[format].file in told
    answers = [
        json.loads(call.well("predict", model, pictures, "--format", "json", *more))
        for model, more in ((run, ("--inference", "single")), (tmp_path / "out", ()))
    ]
    for ours, theirs in zip(*answers, strict=True):
        assert ours["label"] == theirs["label"]
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-5)
    call("predict", tmp_path / "out", pictures, "--inference", "aggregated").fault(
        "'single' alone", "aggregated"
    )


def test_the_folder_and_the_card_name_the_format(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "owls")
    folder = export_model(run, inference="single", format="torch-export")
    assert folder == tmp_path / "owls-single-torch-export"
    text = (folder / "README.md").read_text()
    assert "model.pt2" in text and "load_classifier" not in text
    code = text.split("```python\n")[1].split("```")[0].replace("path/of/this/folder", str(folder))
    scope: dict = {}
    exec(code, scope)
    assert scope["probabilities"].shape == (1, 3)


def test_onnx_carries_the_class_names_and_its_card_runs(tmp_path: Path) -> None:
    import onnxruntime

    folder = export_model(untrained_run(tmp_path / "run"), tmp_path / "out", "single", "onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == ["cat", "dog", "owl"]
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    scope: dict = {}
    exec(code.replace("path/of/this/folder", str(folder)), scope)
    assert scope["logits"].shape == (1, 3)


def test_a_model_that_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch) -> None:
    def off(self, images):
        return torch.zeros(len(images), 3)

    monkeypatch.setattr(onnx_model.OnnxClassifier, "forward", off)
    run = untrained_run(tmp_path / "run")
    with pytest.raises(PretaskError, match="answers otherwise than the run"):
        export_model(run, tmp_path / "out", "single", "onnx")
    assert not (tmp_path / "out" / "model.onnx").exists()


@pytest.mark.parametrize("format", PROGRAMS)
def test_damaged_files_and_other_formats_are_told(tmp_path: Path, format: str) -> None:
    run = untrained_run(tmp_path / "run")
    folder = export_model(run, tmp_path / "out", "single", format)
    with pytest.raises(PretaskError, match="holds other files"):
        export_model(run, folder, "single")
    file = folder / FORMATS[format].file
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(PretaskError, match=f"{file}.*export"):
        load_model(folder)
    with pytest.raises(PretaskError, match="did you mean 'onnx'"):
        export_model(run, tmp_path / "other", format="onx")


def test_a_program_that_holds_other_objects_is_not_unpickled(tmp_path: Path) -> None:
    """The file of an attacker: a pickle that writes a file, in place of the constants."""
    folder = export_model(untrained_run(tmp_path / "run"), tmp_path / "out", "single", "torch-export")
    file, marker = folder / "model.pt2", tmp_path / "was-run"

    class Attack:
        def __reduce__(self):
            return Path.touch, (marker,)

    bad = io.BytesIO()
    torch.save(Attack(), bad)
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    pickled = [name for name, data in content.items() if data[:2] == b"PK"]
    assert pickled, sorted(content)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, bad.getvalue() if name in pickled else data)
    with pytest.raises(PretaskError, match="can be read safely"):
        load_model(folder)
    assert not marker.exists()


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pretask\[onnx\]"):
        export_model(untrained_run(tmp_path / "run"), tmp_path / "out", "single", "onnx")
