"""A small study on embedded digits: what it writes, what it repeats, how it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretask import tasks
from pretask.config.files import from_flat
from pretask.errors import PretaskError
from pretask.studies.compare import compare
from pretask.studies.rows import read_rows, summarise


def settings(folder: Path, **more):
    small = {
        "data": "digits", "per_class": 5, "backbone": "resnet8", "epochs": 1, "batch_size": 25, "threads": 1,
        "device": "cpu", "runs": str(folder), "name": "study",
    }  # fmt: skip
    return from_flat({**small, **more})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("studies")
    return compare(settings(folder), ("baseline", "sla"), seeds=2, equal_compute=True)


def test_rows_and_differences(study) -> None:
    table = {(r["budget"], r["method"], r["inference"]): r for r in study["rows"]}
    assert list(table) == [
        (budget, *row)
        for budget in ("equal-epochs", "equal-compute")
        for row in (("baseline", "single"), ("sla", "aggregated"), ("sla", "single"))
    ]
    reference = table["equal-epochs", "baseline", "single"]
    assert reference["difference"] is None
    for budget in ("equal-epochs", "equal-compute"):
        base = table[budget, "baseline", "single"]["test"]["top1"]["values"]
        own = table[budget, "sla", "aggregated"]
        differences = [a - b for a, b in zip(own["test"]["top1"]["values"], base, strict=True)]
        assert own["difference"]["mean"] == pytest.approx(sum(differences) / 2)
        assert own["difference"]["low"] <= own["difference"]["mean"] <= own["difference"]["high"]
    assert table["equal-compute", "baseline", "single"]["length"] == 4
    assert (
        table["equal-compute", "baseline", "single"]["cost"]
        == table["equal-epochs", "sla", "single"]["cost"]
        == 4
    )


def test_all_methods_see_the_same_splits(study) -> None:
    folder = Path(study["folder"])
    for seed in (0, 1):
        facts = [
            json.loads((folder / f"{m}-epochs1-seed{seed}/results.json").read_text())["data"]
            for m in ("baseline", "sla")
        ]
        assert facts[0] == facts[1]


def test_files(study) -> None:
    folder = Path(study["folder"])
    assert json.loads((folder / "study.json").read_text())["rows"] == study["rows"]
    assert summarise(read_rows(folder / "runs.csv")) == study["rows"]
    assert (folder / "table.md").read_text().count("| baseline | single |") == 2
    page = (folder / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "aggregated" in page


def test_finished_runs_are_not_made_again(study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a finished run was started")

    monkeypatch.setattr(tasks, "train", refuse)
    folder = Path(study["folder"])
    again = compare(settings(folder.parent), ("baseline", "sla"), seeds=2, equal_compute=True)
    assert again["rows"] == study["rows"]


@pytest.mark.parametrize(
    ("fault", "line"),
    [(PretaskError("no luck"), "no luck"), (MemoryError("too big"), "MemoryError: too big")],
)
def test_a_failed_run_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, line: str
) -> None:
    real = tasks.train

    def fail_on_sla(config, data=None):
        if config.method.method == "sla":
            raise fault
        return real(config, data)

    monkeypatch.setattr(tasks, "train", fail_on_sla)
    study = compare(settings(tmp_path), ("sla", "baseline"), seeds=1)
    assert study["failures"] == [f"sla-epochs1-seed0: {line}"]
    assert [r["method"] for r in study["rows"]] == ["baseline"]


def test_scores_and_classes_are_those_of_the_runs(study) -> None:
    runs = [Path(study["folder"]) / f"sla-epochs1-seed{seed}/results.json" for seed in (0, 1)]
    tests = [json.loads(path.read_text())["inferences"]["aggregated"]["selected"]["test"] for path in runs]
    sla = study["rows"][1]
    for metric, found in sla["test"].items():
        assert found["values"] == [test[metric] for test in tests]
    (classes,) = [
        row["accuracy"]
        for row in study["per_class"]
        if (row["budget"], row["method"], row["inference"]) == ("equal-compute", "sla", "aggregated")
    ]
    assert classes == [sum(pair) / 2 for pair in zip(*(test["per_class"] for test in tests), strict=True)]


FIXMATCH = "fixmatch:unlabelled_ratio=2"


def test_a_study_in_steps(tmp_path: Path) -> None:
    """FixMatch beside the baseline on the same labels: equal steps, and as many passes."""
    asked = settings(tmp_path, epochs=100, steps=4, batch_size=10, eval_every=1000)
    study = compare(asked, ("baseline", FIXMATCH), seeds=1, equal_compute=True)
    rows = {(row["budget"], row["method"]): row for row in study["rows"]}
    assert rows["equal-steps", "baseline"]["length"] == rows["equal-steps", FIXMATCH]["length"] == 4
    assert rows["equal-compute", "baseline"]["length"] == 20
    assert rows["equal-steps", FIXMATCH]["cost"] == pytest.approx(5)
    assert study["unit"] == "steps"
    assert all(run["at"][-1] in (4, 20) for run in study["curves"])
    folder = Path(study["folder"])
    assert f"| {FIXMATCH} | single | 4 |" in (folder / "table.md").read_text()
    assert "Equal steps" in (folder / "report.html").read_text()
