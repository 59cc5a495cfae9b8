"""Labels for new pictures, from Python."""

from __future__ import annotations

import io
from pathlib import Path
from threading import current_thread, main_thread

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file

from command_line import picture, untrained_run
from pretask import prediction
from pretask.data import FileImages, load_data, parallel
from pretask.errors import PretaskError
from pretask.methods import load_classifier, model_card, read_card
from pretask.prediction import predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("models") / "colour")


@pytest.fixture(scope="module")
def grey_run(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("models") / "grey", channels=1, size=(12, 20))


def pixels_of(path: Path) -> torch.Tensor:
    """Return a picture as [1, C, H, W] in [0, 1], read by Pillow and numpy alone."""
    array = np.asarray(Image.open(path))
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return torch.from_numpy(array.copy())[None].float() / 255


@pytest.mark.parametrize("inference", [None, "aggregated", "single"])
def test_probabilities_are_the_softmax_of_the_classifier(run, tmp_path, inference):
    path = picture(tmp_path / "a.png")
    with torch.no_grad():
        expected = load_classifier(run, inference)(pixels_of(path)).softmax(1)[0]

    (answer,) = predict(run, [path], inference=inference, top=3)

    names = ("cat", "dog", "owl")
    assert [named["label"] for named in answer["top"]] == [
        names[i] for i in expected.argsort(descending=True)
    ]
    for named in answer["top"]:
        assert named["probability"] == pytest.approx(expected[names.index(named["label"])].item(), abs=1e-6)
    assert answer["image"] == str(path)
    assert (answer["label"], answer["probability"]) == (
        answer["top"][0]["label"],
        answer["top"][0]["probability"],
    )


def test_inferences_answer_differently(run, tmp_path):
    path = picture(tmp_path / "a.png")
    aggregated, single = (predict(run, [path], inference=name)[0] for name in ("aggregated", "single"))
    assert aggregated["probability"] != single["probability"]


def test_grey_and_transparent_pictures_are_read_as_the_model_needs_them(run, tmp_path):
    grey = picture(tmp_path / "grey.png", mode="L")
    levels = np.asarray(Image.open(grey))
    Image.fromarray(np.stack([levels] * 3, axis=2)).save(tmp_path / "colour.png")
    opaque = np.full_like(levels, 255)
    Image.fromarray(np.stack([levels] * 3 + [opaque], axis=2)).save(tmp_path / "alpha.png")
    Image.fromarray(levels).convert("P").save(tmp_path / "palette.png")

    names = ("colour.png", "grey.png", "alpha.png", "palette.png")
    answers = predict(run, [tmp_path / name for name in names], top=3)

    assert [answer["image"] for answer in answers] == [str(tmp_path / name) for name in names]
    for answer in answers[1:]:
        assert answer["top"] == answers[0]["top"]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(12, 20), (7, 5), (1, 1), (300, 40), (3, 200)])
def test_pictures_of_any_size_and_kind_are_labelled(grey_run, run, tmp_path, mode, size):
    path = picture(tmp_path / "a.png", size, mode)
    for model in (run, grey_run):
        (answer,) = predict(model, [path], top=3)
        assert sum(named["probability"] for named in answer["top"]) == pytest.approx(1, abs=1e-5)


def test_a_larger_picture_is_resized_and_not_cut_to_its_corner(run, tmp_path):
    small = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(small).save(tmp_path / "small.png")
    Image.fromarray(small.repeat(4, axis=0).repeat(4, axis=1)).save(tmp_path / "large.png")
    one, other = predict(run, [tmp_path / "small.png", tmp_path / "large.png"], top=3)
    difference = max(
        abs(a["probability"] - b["probability"]) for a, b in zip(one["top"], other["top"], strict=True)
    )
    assert difference < 0.01


def test_folders_are_searched_in_depth_and_in_order(run, tmp_path):
    folder = tmp_path / "photos"
    for name in ("b.png", "a.JPG", "sub/deep/c.webp"):
        picture(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    (folder / "._b.png").write_text("what some systems write beside a picture")
    first = picture(tmp_path / "z.png")

    answers = predict(run, [first, folder])

    found = [Path(answer["image"]).relative_to(tmp_path).as_posix() for answer in answers]
    assert found == ["z.png", "photos/a.JPG", "photos/b.png", "photos/sub/deep/c.webp"]


def test_many_pictures_keep_their_order_and_their_answers(run, tmp_path):
    paths = [picture(tmp_path / f"{i:03}.png", seed=i) for i in range(70)]
    together = predict(run, paths, top=3)
    assert [answer["image"] for answer in together] == [str(path) for path in paths]
    for i in (0, 63, 64, 69):
        (alone,) = predict(run, [paths[i]], top=3)
        assert [n["label"] for n in alone["top"]] == [n["label"] for n in together[i]["top"]]
        assert alone["probability"] == pytest.approx(together[i]["probability"], abs=1e-5)


def test_a_photo_is_answered_as_in_evaluation(run, tmp_path):
    """Whether the set is kept decoded, as one of equal sizes is, or read anew."""
    for i, kind in enumerate(("cat", "dog", "owl")):
        (tmp_path / "set" / kind).mkdir(parents=True)
        noise = np.random.default_rng(i).integers(0, 256, (200, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "set" / kind / "a.jpg", quality=90)
    answers = predict(run, [tmp_path / "set"], top=3)
    for limit in (2**30, 0):
        images = load_data(tmp_path / "set", image_size=16, memory_limit=limit).train.images
        with torch.no_grad():
            pixels = torch.stack([images.fitted(i, (16, 16)) for i in range(3)]).float() / 255
            expected = load_classifier(run)(pixels).softmax(1)
        for answer, row in zip(answers, expected, strict=True):
            for named in answer["top"]:
                wanted = row[("cat", "dog", "owl").index(named["label"])].item()
                assert named["probability"] == pytest.approx(wanted, abs=1e-6)


def test_a_model_is_described_once(run, tmp_path, monkeypatch):
    read, real = [], model_card.read_json_object

    def counted(path, remedy):
        read.append(path)
        return real(path, remedy)

    monkeypatch.setattr(model_card, "read_json_object", counted)
    predict(run, [picture(tmp_path / "a.png")])
    assert read == [run / "model.json"]


def test_pictures_are_read_by_threads_and_not_far_ahead(run, tmp_path, monkeypatch):
    path, threads, real = picture(tmp_path / "a.png"), [], FileImages._decode

    def counted(self, i, fitting=None):
        threads.append(current_thread().name)
        return real(self, i, fitting)

    monkeypatch.setattr(FileImages, "_decode", counted)
    monkeypatch.setattr(parallel, "usable_cpus", lambda: 2)
    pictures = prediction._read([path] * 1000, read_card(run))
    assert next(pictures)[0] == path
    pictures.close()
    assert len(threads) <= 100
    assert main_thread().name not in threads


def test_folders_are_searched_as_for_training(run, tmp_path):
    for name in ("new/a.png", "elsewhere/c.png", "new/.checkpoints/h.png", "new/__MACOSX/b.png"):
        picture(tmp_path / name)
    (tmp_path / "new/linked").symlink_to("../elsewhere")
    (tmp_path / "new/linked/back").symlink_to("../new")
    found = [
        Path(answer["image"]).relative_to(tmp_path).as_posix() for answer in predict(run, [tmp_path / "new"])
    ]
    assert found == ["new/a.png", "new/linked/c.png"]


def test_what_lies_beside_the_pictures_is_counted_and_named(run, tmp_path):
    picture(tmp_path / "new/a.png")
    for name in ("b.jxl", "c.mp4", "d.JXL", "notes.txt"):
        (tmp_path / "new" / name).write_bytes(b"x")
    (tmp_path / "new/again").symlink_to(tmp_path / "new")
    said = Console(file=io.StringIO(), width=40)
    assert len(predict(run, [tmp_path / "new"], console=said)) == 1
    assert said.file.getvalue().splitlines() == [
        "left out 3 files that are no known picture: .jxl 2, .mp4 1",
        "left out 1 link to a folder that is read elsewhere: again",
    ]
    (tmp_path / "new/a.png").unlink()
    with pytest.raises(PretaskError, match=r"no picture to label \(left out 3 files .*\.jxl 2"):
        predict(run, [tmp_path / "new"])


def test_top_is_clamped_to_the_number_of_classes(run, tmp_path):
    path = picture(tmp_path / "a.png")
    assert len(predict(run, [path], top=2)[0]["top"]) == 2
    assert len(predict(run, [path], top=99)[0]["top"]) == 3
    with pytest.raises(PretaskError, match="--top 0"):
        predict(run, [path], top=0)


def test_text_paths_will_do(run, tmp_path):
    path = picture(tmp_path / "a.png")
    assert predict(str(run), [str(path)]) == predict(run, [path])


def damaged(folder: Path) -> list[Path]:
    """Write a good picture, a cut one, one that is none, and another good one."""
    good, cut, text, last = (folder / name for name in ("0.png", "1.png", "2.png", "3.png"))
    for path in (good, cut, last):
        picture(path)
    cut.write_bytes(cut.read_bytes()[:200])
    text.write_text("no picture")
    return [good, cut, text, last]


def test_an_unreadable_picture_is_named(run, tmp_path):
    good, cut, text, _ = damaged(tmp_path)
    with pytest.raises(PretaskError, match=r"1\.png.*--skip-bad"):
        predict(run, [good, cut])
    with pytest.raises(PretaskError, match=r"2\.png.*--skip-bad"):
        predict(run, [text])


def test_unreadable_pictures_are_left_out_counted_and_named(run, tmp_path):
    good, cut, text, last = damaged(tmp_path)
    said = Console(file=io.StringIO(), width=40)
    answers = predict(run, [good, cut, text, last], skip_bad=True, console=said)
    assert [answer["image"] for answer in answers] == [str(good), str(last)]
    (line,) = said.file.getvalue().splitlines()
    assert "left out 2 of 4" in line
    assert str(cut) in line
    assert str(text) in line


def test_nothing_is_said_where_all_is_well(run, tmp_path):
    said = Console(file=io.StringIO())
    predict(run, [picture(tmp_path / "a.png")], skip_bad=True, console=said)
    assert said.file.getvalue() == ""


def test_no_readable_picture_at_all_is_a_fault(run, tmp_path):
    _, cut, text, _ = damaged(tmp_path)
    with pytest.raises(PretaskError, match=r"none of 2 .*1\.png"):
        predict(run, [cut, text], skip_bad=True)


def test_missing_and_empty_places_are_told(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PretaskError, match=r"nowhere\.png"):
        predict(run, [tmp_path / "nowhere.png"])
    with pytest.raises(PretaskError, match="no picture to label"):
        predict(run, [tmp_path / "empty"])
    with pytest.raises(PretaskError, match="no picture to label"):
        predict(run, [])


def test_faults_of_the_model_are_told(run, tmp_path):
    path = picture(tmp_path / "a.png")
    with pytest.raises(PretaskError, match="did you mean 'single'"):
        predict(run, [path], inference="singel")
    with pytest.raises(PretaskError, match=r"no trained model in .*nowhere"):
        predict(tmp_path / "nowhere", [path])
    with pytest.raises(PretaskError, match="unknown device 'gpu'"):
        predict(run, [path], device="gpu")


def test_a_model_that_answers_nan_is_a_fault(tmp_path):
    run = untrained_run(tmp_path / "run")
    weights = load_file(run / "model.safetensors")
    weights["heads.single.weight"][0, 0] = float("nan")
    save_file(weights, run / "model.safetensors")
    path = picture(tmp_path / "a.png")
    assert predict(run, [path])[0]["probability"] > 0
    with pytest.raises(PretaskError, match="NaN"):
        predict(run, [path], inference="single")
