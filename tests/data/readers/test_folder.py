"""Folders of class folders: layouts that are read, and faults that are told."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretask.data import FileImages, load_data
from pretask.data.images.decode import IMAGE_SUFFIXES
from pretask.data.readers.folder import read_folder, read_unlabelled
from pretask.errors import PretaskError

RNG = np.random.default_rng(0)


def put(folder: Path, *names: str, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / name)


def pets(folder: Path, count: int = 3) -> Path:
    for kind in ("cat", "dog"):
        put(folder / kind, *(f"{i}.png" for i in range(count)))
    return folder


def test_class_folders(tmp_path):
    put(tmp_path / "dog", "b.png", "a.PNG")
    put(tmp_path / "cat", "c.jpg")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README.txt").write_text("pets")
    raw = read_folder(tmp_path)
    images = raw.splits["train"].images
    assert isinstance(images, FileImages)
    assert raw.class_names == ("cat", "dog")
    assert images.paths == ("cat/c.jpg", "dog/a.PNG", "dog/b.png")
    assert raw.splits["train"].labels.tolist() == [0, 1, 1]
    assert raw.name == tmp_path.name


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path, validation):
    for part, count in (("train", 3), (validation, 2), ("test", 1)):
        pets(tmp_path / part, count)
    data = load_data(tmp_path)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 4, 2]
    assert data.image_size == (6, 5)
    assert data.channels == 3
    assert data.test.images.describe(1) == "test/dog/0.png"
    expected = np.asarray(Image.open(tmp_path / "train/dog/2.png"))
    assert (data.train.images.read(5).permute(1, 2, 0).numpy() == expected).all()


def test_nested_folders_are_classes_by_their_path(tmp_path):
    for alphabet in ("Greek", "Latin"):
        for character in ("character01", "character02"):
            put(tmp_path / "set" / alphabet / character, "1.png")
    raw = read_folder(tmp_path)  # "set" is the only folder and is left out of the names
    assert raw.class_names == tuple(f"{a}/character0{i}" for a in ("Greek", "Latin") for i in (1, 2))


def test_train_folder_alone(tmp_path):
    raw = read_folder(pets(tmp_path / "photos" / "train").parent)
    assert list(raw.splits) == ["train"]
    assert raw.class_names == ("cat", "dog")


@pytest.mark.parametrize("names", [("bus", "car", "train"), ("Test", "cat", "train"), ("bus", "testing")])
def test_folders_called_like_splits_are_classes_among_others(tmp_path, names):
    for name in names:
        put(tmp_path / name, "1.png", "2.png")
    raw = read_folder(tmp_path)
    assert (list(raw.splits), raw.class_names) == (["train"], names)
    assert raw.splits["train"].labels.tolist() == [label for label in range(len(names)) for _ in range(2)]


def test_files_that_are_no_pictures_are_counted_and_named(tmp_path):
    pets(tmp_path / "train")
    for name in (
        "a.jxl",
        "b.JXL",
        "c.mp4",
        "raw",
        "notes.txt",
        "Thumbs.db",
        "list.csv",
        "README",
        ".hidden.jxl",
    ):
        (tmp_path / "train" / "cat" / name).write_bytes(b"x")
    assert load_data(tmp_path).notes == (
        "left out 4 files that are no known picture: .jxl 2, .mp4 1, no suffix 1",
    )
    pets(tmp_path / "test")
    (tmp_path / "test" / "dog" / "d.jxl").write_bytes(b"x")
    assert read_folder(tmp_path).notes == (
        "left out 5 files that are no known picture: .jxl 3, .mp4 1, no suffix 1",
    )
    assert read_unlabelled(tmp_path).notes == read_folder(tmp_path).notes


def test_what_would_read_a_file_is_said(tmp_path, monkeypatch):
    help_ = {".heic": ".heic needs `pip install 'pretask[heic]'`"}
    monkeypatch.setattr("pretask.data.readers.folder.UNREAD", help_)
    monkeypatch.setattr("pretask.data.images.decode.UNREAD", help_)
    monkeypatch.setattr("pretask.data.readers.folder.IMAGE_SUFFIXES", frozenset((".png",)))
    pets(tmp_path)
    (tmp_path / "cat" / "a.HEIC").write_bytes(b"x")
    (tmp_path / "cat" / "b.mp4").write_bytes(b"x")
    assert load_data(tmp_path).notes == (
        "left out 2 files that are no known picture: .heic 1, .mp4 1; .heic needs `pip install 'pretask[heic]'`",
    )
    with pytest.raises(PretaskError, match=r"cannot read .*a.HEIC \(.heic needs `pip install"):
        FileImages(tmp_path, ["cat/a.HEIC"]).read(0)
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "1.heic").write_bytes(b"x")
    with pytest.raises(
        PretaskError, match=r"emu holds no images \(.heic needs `pip install 'pretask\[heic\]'`\)"
    ):
        load_data(tmp_path)


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_photos_of_other_formats_are_read(tmp_path, kind):
    if kind == "heic":
        pytest.importorskip("pillow_heif", reason="HEIC is an extra").register_heif_opener()
    elif ".avif" not in IMAGE_SUFFIXES:
        pytest.skip("this Pillow reads no AVIF")
    for name in ("cat", "dog"):
        put(tmp_path / name, f"1.{kind}", f"2.{kind.upper()}", size=(40, 32))
    data = load_data(tmp_path)
    assert (len(data.train), data.image_size, data.notes) == (4, (40, 32), ())


def test_a_second_link_to_a_class_folder_is_said(tmp_path):
    pets(tmp_path)
    (tmp_path / "pup").symlink_to(tmp_path / "dog")
    data = read_folder(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.notes == ("left out 1 link to a folder that is read elsewhere: pup",)


def test_links_to_class_folders_are_followed_and_loops_are_not(tmp_path):
    pets(tmp_path / "store")
    (tmp_path / "set").mkdir()
    for kind in ("cat", "dog"):
        (tmp_path / "set" / kind).symlink_to(tmp_path / "store" / kind)
    (tmp_path / "store" / "cat" / "again").symlink_to(tmp_path / "set")
    assert len(read_folder(tmp_path / "set").splits["train"]) == 6


def _empty(folder):
    folder.mkdir(exist_ok=True)


def _one_class(folder):
    put(folder / "cat", "1.png", "2.png")


def _no_class_folders(folder):
    put(folder, "1.png", "2.png")


def _images_beside_folders(folder):
    put(pets(folder), "stray.png")


def _empty_class(folder):
    (pets(folder) / "emu").mkdir()


def _unknown_format(folder):
    (pets(folder) / "emu").mkdir()
    (folder / "emu" / "1.jxl").write_bytes(b"x")


def _unknown_formats(folder):
    for place in ("cat/1.jxl", "dog/2.jxl", "dog/1.RAW"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(b"x")


def _all_flat(folder):
    put(folder / "train", "1.png")
    put(folder / "test", "1.png")


def _classes_beside_a_split(folder):
    pets(folder / "train")
    put(folder / "test", "1.png")
    put(folder / "extra", "1.png")


def _empty_split_among_classes(folder):
    pets(folder)
    (folder / "train").mkdir()


def _different_classes(folder):
    pets(folder / "train")
    put(folder / "test" / "cat", "1.png")
    put(folder / "test" / "Dog", "1.png")


def _flat_test(folder):
    pets(folder / "train")
    put(folder / "test", "1.png")


def _no_train(folder):
    pets(folder / "test")
    pets(folder / "val")


def _two_validations(folder):
    for part in ("train", "val", "valid"):
        pets(folder / part)


def _folder_beside_splits(folder):
    pets(folder / "train")
    pets(folder / "extra")


def _zip_inside(folder):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("a", "b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_empty, "holds no images"),
        (_one_class, r"one class only \('cat'\)"),
        (_no_class_folders, "images lie directly in .* and not in class folders"),
        (_images_beside_folders, r"images lie directly in .* beside its folders \(stray.png\)"),
        (_empty_class, "class folder .*emu holds no images: add some"),
        (_unknown_format, r"emu holds no images \(.jxl is no known kind\): add some"),
        (_unknown_formats, r"holds no images \(.*\), but .jxl 2, .raw 1: put each"),
        (_all_flat, "images lie directly in .*train and not in class folders"),
        (_classes_beside_a_split, "extra holds images beside train, validation and test"),
        (_empty_split_among_classes, "class folder .*train holds no images: add some"),
        (_different_classes, r"only train has 'dog'; only test has 'Dog'"),
        (_flat_test, "images lie directly in .*test and not in class folders"),
        (_no_train, "none called train"),
        (_two_validations, "several folders for validation"),
        (_folder_beside_splits, "extra holds images beside train, validation and test"),
        (_zip_inside, "unpack"),
    ],
)
def test_faults(tmp_path, make, message):
    make(tmp_path / "set")
    with pytest.raises(PretaskError, match=message) as caught:
        load_data(tmp_path / "set")
    assert "\n" not in str(caught.value)


def test_omniglot(real_data, tmp_path):
    """One-bit drawings in alphabet/character folders."""
    with zipfile.ZipFile(real_data / "omniglot" / "images_background_small1.zip") as archive:
        members = [name for name in archive.namelist() if "/Balinese/" in name]
        archive.extractall(tmp_path, members)
    data = load_data(tmp_path)
    assert data.num_classes == 24
    assert data.class_names[0] == "character01"
    assert (data.channels, data.image_size, data.augment) == (1, (105, 105), "resized-crop")
    assert data.class_counts.tolist() == [20] * 24
    assert set(data.train.images.read(0).unique().tolist()) == {0, 255}
    assert 0.8 < data.mean[0] < 1  # black on white
