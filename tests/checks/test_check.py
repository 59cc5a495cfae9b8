"""Planted faults are found, nothing else is; the page, the table and the cleaned list say what was found."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from planted import CLASSES, plant, texture

from command_line import CommandLine, picture_folder, snapshot
from pretask import check, load_data
from pretask.checks.findings import KINDS
from pretask.config.files import from_flat
from pretask.errors import MissingExtra, PretaskError


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, set[str]]]:
    folder = tmp_path_factory.mktemp("planted") / "photos"
    return folder, plant(folder)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


def rows_of(table: Path | str) -> list[dict[str, str]]:
    with Path(table).open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_planted_faults_are_found_and_nothing_else(planted, typed, tmp_path):
    folder, faults = planted
    before = snapshot(folder)
    printed = typed.well("check", folder, "--no-labels", "--apply", "clean.csv")
    assert snapshot(folder) == before  # nothing is deleted or moved
    rows = rows_of(tmp_path / "runs/check-photos/findings.csv")
    found = {
        kind: {row["file"] for row in rows if row["kind"] == kind} for kind in {row["kind"] for row in rows}
    }
    small = found.pop("small test set")
    assert small == {""}
    assert found == faults
    by_file = {row["file"]: row for row in rows}
    assert by_file["train/stone/copied.bmp"]["other file"] == "test/stone/1001.png"
    assert by_file["train/stone/copied.bmp"]["value"] == "1"
    assert 0.85 <= float(by_file["train/stone/near.png"]["value"]) < 1
    assert "leaf" in by_file["train/stone/two labels.png"]["advice"]
    assert "site7" in by_file["train/stone/site7_01.png"]["advice"]
    lines = printed.splitlines()
    assert all(len(line) <= 80 for line in lines if not line.startswith(("applied", "report", "table")))
    for kind, names in faults.items():
        (line,) = [line for line in lines if line.startswith(f"{kind} ")]
        assert line.split(kind)[1].split()[0] == str(len(names))
    page = (tmp_path / "runs/check-photos/check.html").read_text()
    assert "test/stone/1001.png" in page
    assert page.count("data:image/webp;base64,") >= 2 * 7 + 6
    assert "://" not in page

    kept = {row["file"]: row for row in rows_of(tmp_path / "clean.csv")}
    names = {str(Path(file).resolve().relative_to(folder)): row for file, row in kept.items()}
    left_out = faults["unreadable"] | faults["copy in two splits"] | faults["near copy, two splits"]
    assert set(names) == {name for name in before if name not in left_out}
    assert names["train/leaf/0000.png"] | {"file": ""} == {"file": "", "label": "leaf", "split": "train"}
    assert "1 unreadable and 3 copies" in printed
    cleaned = load_data(tmp_path / "clean.csv")
    assert (len(cleaned.train), len(cleaned.test)) == (len(names) - 45, 45)
    assert cleaned.class_names == CLASSES


def test_copies_of_one_split_are_dropped_where_a_split_is_yet_to_be_drawn(tmp_path):
    folder = picture_folder(tmp_path / "photos", count=3, size=(40, 40))
    again = (folder / "cat/00.png").read_bytes()
    (folder / "cat/again.png").write_bytes(again)
    (folder / "dog/again.png").write_bytes(again)
    found = check(folder, labels=False, apply=tmp_path / "clean.csv", to=tmp_path / "out")
    assert found["counts"]["copy in its class"] == found["counts"]["copy in two classes"] == 1
    names = [row["file"] for row in rows_of(tmp_path / "clean.csv")]
    assert (
        "photos/cat/again.png" not in names and "photos/dog/again.png" in names
    )  # who is right is not decided
    assert found["applied"] == len(names) == 7
    (small,) = [row for row in found["findings"] if row["kind"] == "small test set"]
    assert "were a fifth held out" in small["advice"]


def test_a_column_of_a_list_says_what_belongs_together(typed, tmp_path):
    rows = [["file", "label", "split", "Patient ID"]]
    for i in range(8):
        texture(i, i % 2).save(tmp_path / f"{i}.png")
        rows.append([f"{i}.png", CLASSES[i % 2], "test" if i > 5 else "train", f"p{i % 6}" if i != 3 else ""])
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    typed.well("check", "list.csv", "--no-labels", "--group", "patient_id", "--to", "out")
    leaks = [row for row in rows_of(tmp_path / "out/findings.csv") if row["kind"] == "group in two splits"]
    assert [(row["file"], row["other file"]) for row in leaks] == [("0.png", "6.png"), ("1.png", "7.png")]
    typed("check", "list.csv", "--group", "person").fault("no column 'person'", "'Patient ID'")
    picture_folder(tmp_path / "photos", count=2)
    typed("check", "photos", "--group", "person").fault("a column of a list", "drop --group")


def test_pictures_without_classes_or_files_are_checked(tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i in range(3):
        texture(i, 0).save(flat / f"{i}.png")
    texture(1, 0).save(flat / "again.png")
    found = check(flat, to=tmp_path / "out")
    assert found["counts"] == {"copy in its class": 1}
    assert found["labels"] is None
    with pytest.raises(PretaskError, match="has no labels: drop --apply"):
        check(flat, apply=tmp_path / "clean.csv")
    with pytest.raises(PretaskError, match="are no files: drop --apply"):
        check("digits", labels=False, apply=tmp_path / "clean.csv")


def test_a_list_overwrites_nothing(tmp_path):
    folder = picture_folder(tmp_path / "photos", count=2)
    mine = tmp_path / "mine.csv"
    mine.write_text("precious")
    with pytest.raises(PretaskError, match="is there already"):
        check(folder, labels=False, apply=mine)
    assert mine.read_text() == "precious"
    with pytest.raises(PretaskError, match=r"is not called \.csv: type --apply .*mine\.csv"):
        check(folder, labels=False, apply=tmp_path / "mine.txt")


def test_labels_need_cleanlab_where_they_are_asked_for(tmp_path, monkeypatch, typed):
    monkeypatch.setattr("pretask.errors.import_module", _absent)
    monkeypatch.setattr("pretask.checks.job.find_spec", lambda name: None)
    picture_folder(tmp_path / "photos", count=3)
    typed("check", "photos", "--labels").fault("cleanlab", "pip install 'pretask[check]'")
    with pytest.raises(MissingExtra):
        check(tmp_path / "photos", labels=True)
    assert "pretask[check]" in typed.well("check", "photos")


def _absent(name: str) -> None:
    raise ModuleNotFoundError(name=name)


def test_flipped_labels_are_among_the_first_in_doubt(tmp_path):
    pytest.importorskip("cleanlab", reason="needs pretask[check]")
    folder, flipped = tmp_path / "photos", set()
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(24):
            wrong = i < 2
            texture(i, 1 - label if wrong else label, 16, 16).save(folder / name / f"{i}.png")
            flipped |= {f"{name}/{i}.png"} if wrong else set()
    config = from_flat({
        "method": "baseline", "backbone": "resnet8", "epochs": 6, "batch_size": 16, "lr": 0.1, "device": "cpu",
        "threads": 1, "precision": "fp32",
    })  # fmt: skip
    found = check(folder, labels=True, seconds=600, to=tmp_path / "out", config=config)
    doubted = [row for row in found["findings"] if row["kind"] == "label in doubt"]
    first = {row["file"] for row in doubted[:5]}
    assert len(first & flipped) >= 3
    assert len(doubted) <= 8
    assert all("looks like" in row["advice"] for row in doubted)
    assert "agree with" in found["labels"]


def test_advice_fits_into_a_line():
    assert all(len(kind.name) <= 22 and len(kind.advice) <= 49 for kind in KINDS)
