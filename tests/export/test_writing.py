"""The exported classifier and its model card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from command_line import picture, snapshot, tiny, untrained_run
from pretask import predict
from pretask.cli.main import main
from pretask.errors import PretaskError
from pretask.export import export_model
from pretask.methods import load_classifier, read_card

FILES = {"model.safetensors", "model.json", "README.md"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with results, selected on the test set."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.raises(SystemExit) as leaving:
        main(["train", *tiny(method="sla-sd", runs=runs, name="digits", selection="test")])
    assert leaving.value.code == 0
    return runs / "digits"


def answers(folder: Path, inference: str | None = None) -> torch.Tensor:
    classifier = load_classifier(folder, inference)
    card = read_card(folder)
    images = torch.rand(5, card.channels, *card.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return classifier(images)


@pytest.mark.parametrize("inference", ["distilled", "aggregated", "single"])
def test_an_export_answers_as_the_run_does(trained, tmp_path, inference):
    folder = export_model(trained, tmp_path / "export", inference)
    assert torch.equal(answers(folder), answers(trained, inference))
    card = read_card(folder)
    assert card.inference == inference
    assert set(card.inferences) == {inference}
    assert card.class_names == read_card(trained).class_names
    assert {path.name for path in folder.iterdir()} == FILES


def test_inferences_differ_so_that_the_test_above_says_something(trained):
    logits = [answers(trained, name) for name in ("distilled", "aggregated", "single")]
    assert not torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[1], logits[2])


@pytest.mark.parametrize(("channels", "size"), [(1, (16, 16)), (3, (12, 20))])
def test_any_shape_of_images_can_be_exported(tmp_path, channels, size):
    run = untrained_run(tmp_path / "run", channels=channels, size=size)
    folder = export_model(run, tmp_path / "export")
    assert torch.equal(answers(folder), answers(run))
    card = (folder / "README.md").read_text()
    assert f"Unless it is {size[0]}x{size[1]} (height x width)" in card
    assert f"torch.rand(1, {channels}, {size[0]}, {size[1]})" in card


def test_names_are_no_commands_links_or_headings_of_the_card(tmp_path):
    names = ("a\n# Big", "<script>x", "[l](http://x)", "great_dane", "\x1b[2J", "b\u2028c", "é | 1 < 2")
    run = untrained_run(tmp_path / "run", classes=names)
    text = (export_model(run, tmp_path / "export") / "README.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("Distinguishes 7 classes: ")]
    assert line.endswith(
        r": a\\n# Big, \<script>x, \[l\](http://x), great_dane, \\x1b\[2J, b\\u2028c, é \| 1 < 2."
    )


def test_the_folder_is_named_after_run_and_inference(tmp_path):
    run = untrained_run(tmp_path / "owls")
    assert export_model(str(run)) == tmp_path / "owls-aggregated"
    assert export_model(run, inference="single") == tmp_path / "owls-single"
    assert export_model(run, tmp_path / "some/where") == tmp_path / "some/where"


def test_an_export_may_be_written_again_and_exported_itself(tmp_path):
    run = untrained_run(tmp_path / "run")
    first = snapshot(export_model(run, tmp_path / "export"))
    assert snapshot(export_model(run, tmp_path / "export")) == first
    again = export_model(tmp_path / "export", tmp_path / "again")
    assert torch.equal(answers(again), answers(run))


def test_nothing_but_an_export_is_ever_written_over(trained, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "me.jpg").write_bytes(b"precious")
    (tmp_path / "file").write_text("precious")
    before = snapshot(trained), snapshot(tmp_path)
    for place in (trained, photos, tmp_path / "file"):
        with pytest.raises(PretaskError, match="give a"):
            export_model(trained, place)
    assert (snapshot(trained), snapshot(tmp_path)) == before


def test_faults_are_told(tmp_path):
    run = untrained_run(tmp_path / "run")
    with pytest.raises(PretaskError, match="did you mean 'single'"):
        export_model(run, tmp_path / "export", "singel")
    with pytest.raises(PretaskError, match=r"no trained model in .*nowhere"):
        export_model(tmp_path / "nowhere", tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_the_card_gives_the_results_of_this_inference_and_how_they_came_about(trained, tmp_path):
    text = (export_model(trained, tmp_path / "export", "single") / "README.md").read_text()
    results = json.loads((trained / "results.json").read_text())
    test = results["inferences"]["single"]["selected"]["test"]

    _, metadata, body = text.split("---\n", 2)
    assert yaml.safe_load(metadata)["pipeline_tag"] == "image-classification"
    assert f"| top-1 | {100 * test['top1']:.2f} % |" in body
    assert f"test, {test['n']} images" in body
    assert results["protocol"] in body
    assert "optimistic" in body
    assert "`sla-sd`, pretexts rotation; 1 epochs, batch 25" in body


@pytest.mark.parametrize(("method", "words"), [("ssfe", "Reconstructed, not the paper's own"), ("sla", "")])
def test_a_reconstruction_is_called_one(tmp_path, method, words):
    with pytest.raises(SystemExit):
        main(["train", *tiny(method=method, runs=tmp_path, name="run")])
    text = (export_model(tmp_path / "run", tmp_path / "export") / "README.md").read_text()
    assert ("Reconstructed" in text) == bool(words)
    assert words in text


def test_a_model_without_results_claims_no_results(tmp_path):
    folder = export_model(untrained_run(tmp_path / "run"), tmp_path / "export")
    text = (folder / "README.md").read_text()
    assert "Not evaluated on a test set." in text
    assert "optimistic" not in text
    assert " %" not in text


def test_many_classes_are_counted_and_some_of_them_named(tmp_path):
    run = untrained_run(tmp_path / "run", classes=tuple(f"kind {i}" for i in range(60)))
    text = (export_model(run, tmp_path / "export") / "README.md").read_text()
    assert "60 classes" in text
    assert "kind 49" in text
    assert "kind 50" not in text


def test_the_code_on_the_card_runs(tmp_path):
    folder = export_model(untrained_run(tmp_path / "run"), tmp_path / "export")
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, torch.Tensor] = {}
    photo = picture(tmp_path / "photo.jpg", (30, 20))
    exec(code.replace("path/of/this/folder", str(folder)).replace("photo.jpg", str(photo)), names)
    assert names["answers"] == predict(folder, [photo])
    assert names["probabilities"].shape == (1, 3)
    assert names["probabilities"].sum().item() == pytest.approx(1)
