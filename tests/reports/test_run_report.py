"""The run report over a made-up run folder, whole and in part."""

from __future__ import annotations

import json
import math

import pytest
from report_samples import write_sample_run

from pretask.errors import PretaskError
from pretask.reports import write_run_report
from pretask.reports.run_report import run_page


def test_a_finished_run_tells_everything(tmp_path, read_page):
    folder = write_sample_run(tmp_path / "sla-digits")
    text = read_page(write_run_report(folder).read_text())
    test = json.loads((folder / "results.json").read_text())["inferences"]["aggregated"]["selected"]["test"]
    assert f"{100 * test['top1']:.2f} % top-1 on the test set (aggregated inference)" in text
    for expected in ("Results", "Training", "Calibration", "Confusion", "Classes", "Configuration"):
        assert expected in text
    for expected in ("kind 03", "pretask train --data digits", "optimiser · momentum", "images per second"):
        assert expected in text
    assert [str(n) in text for n in test["confusion"][0]]


def test_classes_come_lowest_first_and_those_without_images_last(tmp_path, read_page):
    folder = write_sample_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["inferences"]["aggregated"]["selected"]["test"]["per_class"] = [0.9, None, 0.0, 0.5]
    (folder / "results.json").write_text(json.dumps(results))
    text = read_page(write_run_report(folder).read_text())
    rows = text[text.index("lowest first") :]
    order = [rows.index(f"kind {c:02d}") for c in (2, 3, 0, 1)]
    assert order == sorted(order)
    assert "no images" in rows


def test_many_classes_show_pairs_and_fold_classes(tmp_path, read_page):
    folder = write_sample_run(tmp_path / "run", classes=40, epochs=2)
    text = read_page(write_run_report(folder).read_text())
    assert "most frequent mistakes" in text
    assert "the other 20 classes" in text
    assert "true \\ predicted" not in text


def test_pairs_are_found_in_the_matrix_where_they_are_not_listed(tmp_path, read_page):
    folder = write_sample_run(tmp_path / "run", classes=40, epochs=2)
    before = read_page(write_run_report(folder).read_text())
    results = json.loads((folder / "results.json").read_text())
    del results["inferences"]["aggregated"]["selected"]["test"]["confused_pairs"]
    (folder / "results.json").write_text(json.dumps(results))
    assert read_page(write_run_report(folder).read_text()) == before


@pytest.mark.parametrize(
    "missing", ["results.json", "config.yaml", "environment.json", "metrics.jsonl", "model.json"]
)
def test_a_file_that_is_not_there_yet_is_left_out(tmp_path, read_page, missing):
    folder = write_sample_run(tmp_path / "run")
    (folder / missing).unlink()
    text = read_page(write_run_report(folder).read_text())
    assert ("no results yet: 30 epochs so far" in text) == (missing == "results.json")
    assert ("class 3" in text) == (missing == "model.json")


def test_selection_on_the_test_set_is_stamped(tmp_path, read_page):
    folder = write_sample_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | {"selection": "test"}))
    assert "metrics are optimistic" in read_page(write_run_report(folder).read_text())


def test_episodes_are_a_result_with_their_interval(tmp_path, read_page):
    judged = {"single": {"top1": 0.64375, "half_interval": 0.0579, "episodes": [0.5, 0.75]}}
    results = {"method": "few-shot-ridge", "inferences": {}, "few_shot": judged, "selected_epoch": 3}
    text = read_page(run_page(write_sample_run(tmp_path / "run"), results))
    assert "few-shot-ridge · 64.38 ± 5.79 % top-1, test episodes (single)" in text
    assert "single selected test episodes 64.38 ± 5.79 Training" in text, "no other column"
    assert "epoch 3, with the best validation accuracy" in text


def test_neighbours_are_the_result_of_a_pretraining_and_a_collapse_is_a_warning(tmp_path, read_page):
    watched = {"top1": 0.5, "spread": 0.25, "effective_rank": 1.5, "warning": "embeddings <collapsed>"}
    results = {"method": "byol", "inferences": {}, "embeddings": {"embeddings": watched}}
    page = run_page(write_sample_run(tmp_path / "run"), results)
    assert '<p class="notice" role="note">embeddings &lt;collapsed&gt;</p>' in page
    text = read_page(page)
    assert "top-1 % spread effective rank embeddings last validation 50.00 0.250 1.500 Training" in text


def test_what_an_evaluator_of_ones_own_returns_is_shown_and_breaks_nothing(tmp_path, read_page):
    folder = write_sample_run(tmp_path / "run")
    returned = {"tasks": {"a": 1}, "kappa_score": 0.625, "words": "good", "curve": [1, 2], "n": math.nan}
    line = {"epoch": 31, "train": {"loss": "high", "rotation_accuracy": None}, "validation": {"odd": 0.5}}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    inferences = {"single": {"selected": {"test": returned, "validation": 0.5}, "last": None}}
    page = run_page(folder, {"inferences": inferences, "default_inference": "single"})
    assert "inference checkpoint split kappa score single selected test 0.625 Training" in read_page(page)


def test_large_matrices_have_the_whole_width(tmp_path):
    pages = [
        write_run_report(write_sample_run(tmp_path / str(n), classes=n, epochs=2)).read_text()
        for n in (12, 13)
    ]
    assert ['class="wide"' in page for page in pages] == [False, True]


def test_a_resumed_epoch_counts_once_and_a_cut_line_not_at_all(tmp_path, read_page):
    (tmp_path / "metrics.jsonl").write_text(
        '{"epoch": 2, "lr": 1}\n{"epoch": 1}\n{"epoch": 2, "lr": 3}\n{"epoch": 3, "l'
    )
    assert "no results yet: 2 epochs so far" in read_page(write_run_report(tmp_path).read_text())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metrics.jsonl", '{"epoch": 1\n{"epoch": 2}\n', "line 1 of .*metrics.jsonl"),
        ("results.json", "{", "cannot read .*results.json"),
        ("environment.json", "[]", "cannot read .*environment.json"),
        ("config.yaml", "a: [", "config.yaml is not valid YAML"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, says):
    folder = write_sample_run(tmp_path / "run", epochs=2)
    (folder / name).write_text(content)
    with pytest.raises(PretaskError, match=says):
        write_run_report(folder)


def test_a_folder_without_a_run_is_refused_and_stays_empty(tmp_path):
    with pytest.raises(PretaskError, match="holds no run"):
        write_run_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PretaskError, match="holds no run"):
        write_run_report(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
