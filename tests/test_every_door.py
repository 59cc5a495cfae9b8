"""Some fifty odd pictures through training, evaluation, prediction, explanation and exports: the same probabilities."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import CommandLine, tiny
from odd_pictures import KINDS, REFUSED, encoded, write
from pretask import predict
from pretask.data import FileImages, create_loader, load_data
from pretask.evaluation.accuracy import Accuracy
from pretask.evaluation.run import read_data
from pretask.explain.scene import named_pictures
from pretask.export import export_model
from pretask.methods import load_classifier, read_card

SIDE = 72
"""Above 64, so that the centre leaves out an eighth."""


def _stripes(height: int, width: int) -> Image.Image:
    """A pattern so fine that every way to make it smaller gives other pixels."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sign(np.sin(x * (1.3 + c) + y * 0.4)) for c in range(3)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("every-door") / "photos"
    paths = write(folder / "a")
    for name, size in {"large.jpg": (400, 611), "tall.jpg": (600, 333), "own.png": (SIDE, SIDE), "dot.png": (1, 1),
                       "strip.png": (1, 3000), "half.webp": (2 * SIDE, 2 * SIDE)}.items():  # fmt: skip
        paths.append(folder / "a" / name)
        kind = Image.registered_extensions()[paths[-1].suffix]
        paths[-1].write_bytes(encoded(_stripes(*size), kind, quality=95))
    (folder / "b").mkdir()
    for path in paths[::2]:
        path.rename(folder / "b" / path.name)
    for name, content in REFUSED.items():
        (folder / "b" / name).write_bytes(content)
    assert len(paths) >= 50
    return folder


@pytest.fixture(scope="module")
def run(photos) -> Path:
    from pretask.cli.main import main

    settings = tiny(
        data=photos, per_class=None, image_size=SIDE, batch_size=8, method="baseline", skip_bad=True, epochs=2,
        runs=photos.parent, name="run", loader="streaming", workers=0, validation=0,
    )  # fmt: skip
    with pytest.raises(SystemExit) as left:
        main(["train", *settings])
    assert left.value.code == 0
    return photos.parent / "run"


@pytest.fixture(scope="module")
def answers(run, photos) -> dict[str, list[float]]:
    """The probabilities of `predict`, by the picture's path in the folder."""
    found = {}
    for answer in predict(run, [photos], top=2, skip_bad=True):
        by_name = {named["label"]: named["probability"] for named in answer["top"]}
        found[Path(answer["image"]).relative_to(photos).as_posix()] = [by_name["a"], by_name["b"]]
    spread = np.std([first for first, _ in found.values()])
    assert spread > 0.01, "the pictures are told apart"
    return found


def test_every_picture_is_answered_and_what_has_no_range_is_left_out(answers, run):
    assert len(answers) == sum(map(len, KINDS.values())) + 6
    facts = json.loads((run / "results.json").read_text())["data"]
    assert facts["skipped_images"] == len(REFUSED)


@pytest.mark.parametrize("split", ["train", "test"])
def test_evaluation_answers_as_predict_does(run, answers, split):
    data, classifier = read_data(run, None, read_card(run)), load_classifier(run)
    images = getattr(data.images, split).images
    found = Accuracy(split, workers=0).predictions(classifier, data.images).logits.softmax(1)
    for i, row in enumerate(found.tolist()):
        assert row == pytest.approx(answers[images.describe(i)], abs=1e-5), images.describe(i)


@pytest.mark.parametrize("kind", ["resident", "streaming"])
def test_loaders_show_what_predict_does(run, answers, photos, kind):
    split = load_data(photos, image_size=SIDE, channels=3, skip_bad=True).train
    classifier = load_classifier(run)
    loader = create_loader(
        split, image_size=(SIDE, SIDE), batch_size=16, device="cpu", train=False, kind=kind, workers=0
    )
    with closing(loader), torch.no_grad():
        for batch in loader.epoch(0):
            for i, row in zip(
                batch.index.tolist(), classifier(batch.images).softmax(1).tolist(), strict=True
            ):
                assert row == pytest.approx(answers[split.images.describe(i)], abs=1e-5)


def test_explanations_show_what_predict_does(run, answers, photos):
    chosen = named_pictures([photos / name for name in answers], 3, (SIDE, SIDE))
    with torch.no_grad():
        found = load_classifier(run)(chosen.pixels).softmax(1).tolist()
    for name, row in zip(answers, found, strict=True):
        assert row == pytest.approx(answers[name], abs=1e-5), name


@pytest.mark.parametrize("form", ["onnx", "torch-export"])
@pytest.mark.parametrize("inside", [False, True])
def test_exports_answer_as_the_run_does(run, answers, photos, tmp_path, form, inside):
    folder = export_model(run, tmp_path / "out", None, form, with_preprocessing=inside)
    if not inside:
        for answer in predict(folder, [photos], top=2, skip_bad=True):
            wanted = answers[Path(answer["image"]).relative_to(photos).as_posix()]
            assert answer["probability"] == pytest.approx(max(wanted), abs=1e-5)
        return
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx")

        def ask(pixels: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(session.run(None, {"image": pixels})[0])
    else:
        program = torch.export.load(folder / "model.pt2").module()

        def ask(pixels: np.ndarray) -> torch.Tensor:
            return program(torch.from_numpy(pixels))

    files = FileImages(photos, list(answers), 3)
    for i, (name, wanted) in enumerate(answers.items()):
        pixels = np.ascontiguousarray(files.read(i).permute(1, 2, 0).numpy())
        assert ask(pixels).softmax(1)[0].tolist() == pytest.approx(wanted, abs=1e-3), name


def test_the_command_line_says_what_it_leaves_out(run, photos, capsys):
    answer = CommandLine(capsys)("predict", run, photos, "--skip-bad", "--format", "csv")
    assert answer.code == 0
    assert f"left out {len(REFUSED)} of" in answer.err
