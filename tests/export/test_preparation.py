"""An export says how a picture is prepared, or does it itself; who follows it gets the answers of `predict`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from command_line import CommandLine, picture, untrained_run
from pretask import predict
from pretask.errors import PretaskError
from pretask.export import export_model, load_model, onnx_model
from pretask.methods import read_card

SIZES = [(72, 72), (32, 48), (300, 411), (411, 300), (20, 31), (1, 2000), (2000, 3), (1, 1), (144, 144)]
"""Of pictures: the model's own, an eighth more than it sees, larger, smaller, strips, and halves with many ties."""


def sharp_run(folder: Path, **options) -> Path:
    """Save a model whose answers are far from even, so that they change with the pixels."""
    run = untrained_run(folder, **options)
    weights = load_file(run / "model.safetensors")
    for name in weights:
        if name.startswith("heads."):
            weights[name] *= 8
    save_file(weights, run / "model.safetensors")
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        3: sharp_run(folder / "colour", size=(72, 72), method="baseline"),
        1: sharp_run(folder / "grey", size=(32, 48), channels=1),
    }


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    return [picture(folder / f"{height}x{width}.png", (height, width)) for height, width in SIZES]


@pytest.fixture(scope="module")
def exports(runs, tmp_path_factory):
    """Exports with preparation, by channels and format."""
    folder = tmp_path_factory.mktemp("exports")
    return {
        (channels, form): export_model(run, folder / f"{form}{channels}", None, form, with_preprocessing=True)
        for channels, run in runs.items()
        for form in ("onnx", "torch-export")
    }


def by_name(answers) -> list[dict[str, float]]:
    return [{named["label"]: named["probability"] for named in answer["top"]} for answer in answers]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_graph_with_preparation_answers_in_onnxruntime_alone_as_predict_does(
    runs, photos, exports, channels
):
    import onnxruntime

    session = onnxruntime.InferenceSession(exports[channels, "onnx"] / "model.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    names, said = json.loads(facts["class_names"]), json.loads(facts["preparation"])
    assert (said["inside_model"], said["input"]) == (True, "uint8 [H, W, 3], RGB, any H and W")
    expected = by_name(predict(runs[channels], photos, top=3))
    assert np.std([answer["cat"] for answer in expected]) > 0.02, "the pictures are told apart"
    for photo, wanted in zip(photos, expected, strict=True):
        (logits,) = session.run(["logits"], {"image": np.array(Image.open(photo))})
        powers = np.exp(logits[0] - logits.max())
        for name, probability in zip(names, powers / powers.sum(), strict=True):
            assert probability == pytest.approx(wanted[name], abs=1e-3), photo.name


@pytest.mark.parametrize("channels", [1, 3])
def test_a_program_with_preparation_answers_in_torch_alone_as_predict_does(runs, photos, exports, channels):
    model = torch.export.load(exports[channels, "torch-export"] / "model.pt2").module()
    for photo, wanted in zip(photos, by_name(predict(runs[channels], photos, top=3)), strict=True):
        found = model(torch.from_numpy(np.array(Image.open(photo)))).softmax(1)[0].tolist()
        for name, probability in zip(("cat", "dog", "owl"), found, strict=True):
            assert probability == pytest.approx(wanted[name], abs=1e-3), photo.name


@pytest.mark.parametrize("form", ["onnx", "torch-export"])
def test_predict_takes_such_an_export_like_any_other(runs, photos, exports, form):
    for channels, run in runs.items():
        ours, theirs = (by_name(predict(model, photos, top=3)) for model in (run, exports[channels, form]))
        for one, other in zip(ours, theirs, strict=True):
            assert other == pytest.approx(one, abs=1e-5)
    images = torch.rand(5, 3, 72, 72)
    assert load_model(exports[3, form])(images).shape == (5, 3)


@pytest.mark.parametrize("form", ["onnx", "torch-export"])
@pytest.mark.parametrize("inside", [False, True])
def test_the_code_on_the_card_answers_as_predict_does(runs, exports, tmp_path, form, inside):
    folder = exports[3, form] if inside else export_model(runs[3], tmp_path / "out", None, form)
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(tmp_path / "logo.png", exif=exif)
    Image.fromarray(noise[..., :3]).convert("CMYK").save(tmp_path / "turned.jpg", exif=exif)
    for name in ("logo.png", "turned.jpg"):
        scope: dict = {}
        exec(
            code.replace("path/of/this/folder", str(folder)).replace("photo.jpg", str(tmp_path / name)), scope
        )
        found = (
            scope["probabilities"] if form == "torch-export" else torch.from_numpy(scope["logits"]).softmax(1)
        )
        (wanted,) = by_name(predict(runs[3], [tmp_path / name], top=3))
        assert found[0].tolist() == pytest.approx(
            [wanted[label] for label in ("cat", "dog", "owl")], abs=1e-3
        )


def test_every_format_states_the_preparation(runs, exports, tmp_path):
    plain = export_model(runs[3], tmp_path / "plain")
    for folder in (plain, *exports.values()):
        card, text = read_card(folder), (folder / "README.md").read_text()
        how = card.preparation
        assert how["inside_model"] is (folder != plain)
        assert how["crop_to"] == list(card.image_size)
        assert how["resize_to"] == ([82, 82] if card.channels == 3 else [32, 48])
        assert (how["mean"], how["std"]) == (list(card.mean), list(card.std))
        for word in ("upright", "white", "cover", "bilinear", "antialiased", "centre", "divided by 255"):
            assert word in text and any(word in str(value) for value in how.values()), word


def test_what_has_no_graph_cannot_hold_the_preparation(runs, tmp_path, capsys):
    call = CommandLine(capsys)
    call("export", runs[3], tmp_path / "out", "--with-preprocessing").fault(
        "--with-preprocessing", "--format onnx"
    )
    assert not (tmp_path / "out").exists()


def test_a_preparation_that_comes_out_otherwise_is_not_written(runs, tmp_path, monkeypatch):
    real = onnx_model.fitted
    monkeypatch.setattr(onnx_model, "fitted", lambda picture, card: real(picture, card).flip(3))
    with pytest.raises(PretaskError, match=r"otherwise than the run, by .* in probability for a picture of"):
        export_model(runs[3], tmp_path / "out", None, "onnx", with_preprocessing=True)
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_a_card_of_an_earlier_version_has_none(runs):
    assert read_card(runs[3]).preparation == {}
