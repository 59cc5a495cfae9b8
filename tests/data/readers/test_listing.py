"""Lists of files and labels: columns by name, paths from the list's folder, faults that are told."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from pretask.data import FileImages, apply_splits, load_data
from pretask.data.readers.listing import read_list
from pretask.errors import PretaskError

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(6):
        pixels = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path


def write(folder, *rows, name="list.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes("\n".join(rows).encode(encoding))
    return path


PETS = [f"photos/{i}.png,{kind}" for i, kind in enumerate(("dog", "cat", "dog", "cat", "emu", "emu"))]


def test_files_and_labels(folder):
    data = load_data(write(folder, "file,label", *PETS))
    assert (data.name, data.class_names, data.image_size) == ("list", ("cat", "dog", "emu"), (6, 5))
    assert data.train.labels.tolist() == [1, 0, 1, 0, 2, 2]
    assert (data.validation, data.test) == (None, None)
    assert data.train.images.describe(4) == "photos/4.png"
    shown = np.asarray(Image.open(folder / "photos" / "4.png"))
    assert (data.train.images.read(4).permute(1, 2, 0).numpy() == shown).all()
    assert [len(split) for split in (apply_splits(data).train, apply_splits(data).test)] == [4, 1]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_quotes_and_marks_of_order(folder, separator, encoding):
    rows = [separator.join(row.split(",")) for row in ("number,Class Name,File-Path", *"12")]
    rows[1:] = [
        separator.join(cells)
        for cells in (("1", '"cät; a, b"', "photos/0.png"), ("2", "dog", '"photos/1.png"'))
    ]
    raw = read_list(write(folder, *rows, "", separator * 2, encoding=encoding))
    assert raw.class_names == ("cät; a, b", "dog")
    assert raw.splits["train"].images.paths == ("photos/0.png", "photos/1.png")


@pytest.mark.parametrize(
    "header", ["filename,label", "Image,CATEGORY", "path, target", "img_path,class", "FILE NAME,Label"]
)
def test_usual_names_of_columns(folder, header):
    assert read_list(write(folder, header, *PETS, name="list.tsv")).class_names == ("cat", "dog", "emu")


def test_the_first_usual_name_wins(folder):
    rows = [f"x{i},{row},{i}" for i, row in enumerate(PETS)]
    raw = read_list(write(folder, "image,file,class,target", *rows))
    assert raw.class_names == ("cat", "dog", "emu")


def test_splits(folder):
    parts = ("train", "Training", "val", "valid", "test", "TEST")
    kinds = ("dog", "cat") * 3
    rows = [f"photos/{i}.png,{kind},{part}" for i, (kind, part) in enumerate(zip(kinds, parts, strict=True))]
    data = load_data(str(write(folder, "file,label,split", *rows)))
    assert [split.images.array.shape[0] for split in (data.train, data.validation, data.test)] == [2, 2, 2]
    assert data.test.labels.tolist() == [1, 0]


def test_whole_numbers_are_names_in_the_order_of_the_numbers(folder):
    numbers = ("10", "9", "-1", "9", "10", "-1")
    raw = read_list(write(folder, "file,label", *(f"photos/{i}.png,{n}" for i, n in enumerate(numbers))))
    assert raw.class_names == ("-1", "9", "10")
    assert raw.splits["train"].labels.tolist() == [2, 1, 0, 1, 2, 0]
    mixed = ("10", "9", "a", "9", "10", "a")
    raw = read_list(write(folder, "file,label", *(f"photos/{i}.png,{n}" for i, n in enumerate(mixed))))
    assert raw.class_names == ("10", "9", "a")


def test_absolute_paths_and_those_of_windows(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("lists")
    absolute = [f"{folder}/photos/{i}.png,{i % 2}" for i in range(4)]
    raw = read_list(write(elsewhere, "file,label", *absolute))
    assert isinstance(raw.splits["train"].images, FileImages)
    assert raw.splits["train"].images.read(3).shape == (3, 6, 5)
    raw = read_list(write(folder, "file,label", "photos\\0.png,a", "photos\\1.png,b"))
    assert raw.splits["train"].images.paths == ("photos/0.png", "photos/1.png")


def test_a_list_without_labels_is_for_pre_training(folder):
    path = write(folder, "file", *(row.split(",")[0] for row in PETS))
    assert load_data(path, labelled=False).class_names == ("unlabelled",)
    with pytest.raises(PretaskError, match=r"no column of labels \(columns: 'file'\): call one 'label'"):
        load_data(path)
    assert load_data(write(folder, "file,label", *PETS), labelled=False).num_classes == 3


def test_pictures_are_read_anew_after_a_change(folder):
    path = write(folder, "file,label", *PETS)
    first = load_data(path)
    Image.new("RGB", (5, 6)).save(folder / "photos" / "0.png")
    assert first.train.images.read(0).max() > 0
    assert load_data(path).train.images.read(0).max() == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["name,label", *PETS], r"has no column of files \(columns: 'name', 'label'\): call one 'file'"),
        (["file,kind", *PETS], r"has no column of labels \(columns: 'file', 'kind'\): call one 'label'"),
        ([], r"has no column of files \(columns: none\)"),
        (["file,label"], "has no train images"),
        (["file,label", *PETS, "photos/9.png,cat"], r"lists a missing file, .*photos/9.png in row 8: paths"),
        (
            ["file,label", "a.png,cat", *PETS, "b,cat"],
            r"2 files that are missing, the first of them .*a.png in row 2",
        ),
        (["file,label", "photos,cat", *PETS], "missing file, .*photos in row 2"),
        (["file,label", f"{'x' * 300},cat", *PETS], "missing file"),
        (["file,label", "a\0b,cat", *PETS], "missing file|cannot read"),
        (["file,label", *PETS[:3], "photos/3.png,", *PETS[4:]], "row 5 of .*list.csv has no label"),
        (["file,label", PETS[0], "", "photos/3.png"], "row 4 of .*list.csv has no label"),
        (["file,label", PETS[0], ",cat"], "row 3 of .*list.csv has no file"),
        (["file,label", PETS[0], PETS[2]], "has 1 class: a classifier needs images of at least two"),
        (
            ["file,label,split", f"{PETS[0]},train", f"{PETS[1]},hold"],
            "row 3 of .* unknown split 'hold': use train,",
        ),
        (["file,label,split", f"{PETS[0]},train", f"{PETS[1]},"], "row 3 of .* has no split"),
        (["file,label,split", *(f"{row},test" for row in PETS)], "no train images .found: test."),
        (
            ["file,label,split", *(f"{row},train" for row in PETS[:5]), f"{PETS[5]},test"],
            "only train has 'cat', 'dog'",
        ),
        (["file,label", f'photos/0.png,"{"x" * 200_000}"', *PETS], "cannot read .*field larger"),
    ],
)
def test_faults(folder, rows, message):
    with pytest.raises(PretaskError, match=message) as caught:
        load_data(write(folder, *rows))
    assert "\n" not in str(caught.value)


def test_other_texts_and_pipes(folder):
    path = write(folder, "file,label", "photos/0.png,café", encoding="latin-1")
    with pytest.raises(PretaskError, match="it is not UTF-8"):
        load_data(path)
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(PretaskError, match="no regular file"):
        load_data(folder / "pipe.csv")
