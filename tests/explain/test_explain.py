"""`pretask explain`: the same images for all models, pictures and figures on disk, faults in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from command_line import CommandLine, picture, picture_folder, tiny, untrained_run
from pretask.data import apply_splits, load_data
from pretask.errors import PretaskError
from pretask.explain import explain
from pretask.explain.scene import drawn_subset
from pretask.methods import load_classifier


@pytest.fixture(scope="module")
def runs(tmp_path_factory, request) -> list[Path]:
    """Three short trainings on digits."""
    folder = tmp_path_factory.mktemp("runs")
    from pretask.cli.main import main

    for method in ("baseline", "sla", "gssl-flip"):
        with pytest.raises(SystemExit) as left:
            main(["train", *tiny(method=method, runs=folder, name=method)])
        assert left.value.code == 0
    return [folder / "baseline", folder / "sla", folder / "gssl-flip"]


def test_models_side_by_side(runs, tmp_path, capsys) -> None:
    out = CommandLine(capsys).well("explain", *runs, "--points", 60, "--count", 3, "--to", tmp_path)
    told = json.loads((tmp_path / "explain.json").read_text())
    assert list(told["runs"]) == ["baseline", "sla", "gssl-flip"]
    assert {row["label"] for row in told["attention"]} == {"0", "1", "2"}
    assert all(set(row["answers"]) == set(told["runs"]) for row in told["attention"])
    assert set(told["separation"]) == set(told["runs"]) and told["points"] == 60
    for part in ("gradcam", "examples", "pretexts", "tsne", "pca"):
        with Image.open(tmp_path / f"{part}.png") as drawn:
            assert drawn.width > 300 and len(drawn.convert("L").getcolors(256)) > 20
        assert f"wrote {tmp_path / part}.png" in out
    assert "5 neighbours" in out


def test_the_same_call_gives_the_same_files(runs, tmp_path) -> None:
    for place in ("a", "b"):
        explain(runs[:1], points=40, count=2, to=tmp_path / place, format="svg")
    for part in ("gradcam.svg", "examples.svg", "tsne.svg", "pca.svg"):
        assert (tmp_path / "a" / part).read_bytes() == (tmp_path / "b" / part).read_bytes()
    other = explain(runs[:1], points=40, count=2, to=tmp_path / "c", parts=["gradcam"], seed=1)
    first = json.loads((tmp_path / "a" / "explain.json").read_text())
    assert [row["image"] for row in other["attention"]] != [row["image"] for row in first["attention"]]


def test_examples_are_what_they_are_called(runs, tmp_path) -> None:
    """Against probabilities of every image, one by one: the surest, and where answers part most."""
    told = explain(runs[:2], parts=["examples"], points=50, count=4, to=tmp_path)
    data = apply_splits(load_data("digits"), per_class=5, seed=0)
    crowd = drawn_subset(data.test, 50, seed=0)
    pixels = crowd.images.array.float() / 255
    with torch.no_grad():
        answers = {run.name: load_classifier(run)(pixels).softmax(1) for run in runs[:2]}
    names = [crowd.images.describe(row) for row in range(50)]
    rows = {row["title"]: [image["image"] for image in row["images"]] for row in told["examples"]}
    for name, p in answers.items():
        confidence, answer = p.max(1)
        for title, kept in (("right", answer == crowd.labels), ("wrong", answer != crowd.labels)):
            order = sorted((row for row in range(50) if kept[row]), key=lambda row: -confidence[row])[:4]
            assert rows[f"{name}\nsurest {title}"] == [names[row] for row in order]
    first, second = answers.values()
    apart = [row for row in range(50) if first[row].argmax() != second[row].argmax()]
    apart.sort(key=lambda row: -float((first[row] - second[row]).abs().max()))
    assert rows["models disagree"] == [names[row] for row in apart[:4]]


def test_pretexts_are_those_of_the_trainings(runs, tmp_path) -> None:
    told = explain(runs, parts=["pretexts"], to=tmp_path)
    assert told["pretexts"] == {"rotation": ["sla"], "lorot-e": ["gssl-flip"], "patch-flip": ["gssl-flip"]}
    assert explain(runs[:1], parts=["pretexts"], to=tmp_path / "none")["files"] == {}


def test_pictures_of_the_user_are_shown_without_a_truth(tmp_path) -> None:
    run, own = untrained_run(tmp_path / "run"), picture(tmp_path / "mine.png", (40, 30))
    data = picture_folder(tmp_path / "data", ("cat", "dog", "owl"))
    told = explain([run], parts=["gradcam"], images=[own], data=str(data), split="train")
    assert [row["label"] for row in told["attention"]] == [None]
    assert told["folder"] == str(run / "explain")


def test_the_report_of_the_run_shows_the_pictures(runs) -> None:
    told = explain(runs[:1], points=40, count=2)
    assert told["folder"] == str(runs[0] / "explain")
    page = (runs[0] / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4, "baseline has no pretext"
    assert 'alt="0: baseline answers' in page and "5 neighbours" in page
    assert len(page) < 5_000_000


def test_faults_are_told_in_one_line(runs, tmp_path, capsys) -> None:
    call = CommandLine(capsys)
    other = untrained_run(tmp_path / "other")
    call("explain").fault("give a run folder")
    call("explain", tmp_path / "nowhere").fault("no trained model")
    call("explain", runs[0], other).fault("differ in", "one by one")
    call("explain", runs[0], runs[0]).fault("given twice")
    call("explain", other).fault("does not know its data", "--data")
    call("explain", runs[0], "--points", 1).fault("too few")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    call("explain", runs[0], "--images", broken, "--parts", "gradcam").fault("broken.png")
    with pytest.raises(PretaskError, match="did you mean 'tsne'"):
        explain(runs[:1], parts=["tsnee"])
