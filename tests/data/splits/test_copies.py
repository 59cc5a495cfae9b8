"""Copies of an image: known by their content, kept on one side of a split, counted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from command_line import picture, picture_folder
from pretask.data import ArrayImages, apply_splits, hold_out, load_data
from pretask.data.images import contents
from pretask.data.images.contents import contents_of, copies_of, copy_groups
from pretask.data.images.stores import EncodedImages, FileImages


def doubled(folder: Path, count: int = 10) -> Path:
    """Every picture twice, as one that was downloaded twice is called."""
    for path in sorted(picture_folder(folder, count=count).rglob("*.png")):
        shutil.copy(path, path.with_name(f"{path.stem} (1).png"))
    return folder


def test_copies_stay_together_and_are_counted(tmp_path: Path) -> None:
    data = apply_splits(load_data(doubled(tmp_path / "photos")), validation=0.2)
    sides = {
        name: {part.images.describe(i).replace(" (1)", "") for i in range(len(part))}
        for name, part in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    assert [len(found) for found in sides.values()] == [13, 3, 4]  # of 20, as without copies
    assert len(set.union(*sides.values())) == 20
    assert (len(data.train), len(data.validation), len(data.test)) == (26, 6, 8)
    assert data.notes[0] == (
        "copies: 20 of 40 images have the content of another; copies stay on one side of a split"
    )
    assert not any("little" in note for note in data.notes)


def test_without_copies_splits_are_what_they_were() -> None:
    labels = torch.arange(90) % 3
    alone = torch.arange(90)
    for size in (0.2, 7):
        kept, held = hold_out(labels, size, 5)
        for groups in (None, alone):
            again = hold_out(labels, size, 5, groups)
            assert torch.equal(again[0], kept) and torch.equal(again[1], held)


def test_a_class_that_is_all_copies_keeps_an_image() -> None:
    """Class 1 has but copies of what class 0 has: they go where the first one goes, unless a class were left empty."""
    labels = torch.tensor([0] * 10 + [1] * 2)
    groups = torch.tensor([*range(10), 0, 1])
    for seed in range(20):
        kept, held = hold_out(labels, 0.5, seed, groups)
        assert set(labels[kept].tolist()) == {0, 1}
        assert not set(groups[kept].tolist()) & set(groups[held].tolist())


def test_labels_that_disagree_are_said(tmp_path: Path) -> None:
    photos = picture_folder(tmp_path / "photos", count=6)
    shutil.copy(photos / "cat/00.png", photos / "dog/again.png")
    notes = apply_splits(load_data(photos)).notes
    assert notes[0].startswith(
        "copies: 1 of 13 images have the content of another, 1 of them under another label;"
    )


def test_copies_across_given_splits_are_said(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("test", 3)):
        picture_folder(tmp_path / "photos" / part, count=count)  # the same seeds, so the same pictures
    data = apply_splits(load_data(tmp_path / "photos"))
    assert len(data.test) == 6
    said = [note for note in data.notes if note.startswith("copies: ")]
    assert said and all("of 6 test images are" in note and "says little" in note for note in said)


def test_decoded_files_and_arrays_are_known_by_what_was_there_first(tmp_path: Path) -> None:
    photos = doubled(tmp_path / "photos", count=3)
    data = load_data(photos)
    assert isinstance(data.train.images, ArrayImages)
    files = FileImages(photos, data.train.images.names)
    assert torch.equal(data.train.contents, contents_of(files))
    assert torch.equal(data.train.subset([4, 2]).contents, data.train.contents[[4, 2]])
    assert (
        data.train.contents[:, 0] == torch.tensor([p.stat().st_size for p in map(files.path, range(12))])
    ).all()
    items = [files.path(i).read_bytes() for i in range(12)]
    cells = contents_of(EncodedImages(items))
    assert copy_groups(cells).tolist() == copy_groups(data.train.contents).tolist()
    pixels = ArrayImages(data.train.images.array)
    assert copy_groups(contents_of(pixels)).tolist() == copy_groups(data.train.contents).tolist()
    assert copy_groups(contents_of(pixels.subset([0, 2, 4]))) is None


def test_images_of_another_shape_are_no_copies() -> None:
    black = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert not copies_of(contents_of(ArrayImages(black)), contents_of(ArrayImages(black.view(1, 1, 2, 8))))


@pytest.mark.parametrize("place", [0, 70_000, -1])
def test_large_files_are_told_apart(tmp_path: Path, place: int) -> None:
    content = bytearray(i * i % 251 for i in range(200_001))
    (tmp_path / "a.bmp").write_bytes(content)
    (tmp_path / "b.bmp").write_bytes(content)
    content[place] ^= 1
    (tmp_path / "c.bmp").write_bytes(content)
    found = contents_of(FileImages(tmp_path, ["a.bmp", "b.bmp", "c.bmp"]))
    assert copy_groups(found).tolist() == [0, 0, 2]


def test_what_cannot_be_read_is_no_copy(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    found = contents_of(FileImages(tmp_path, ["pipe.png", "missing.png"]))
    assert found.tolist() == [[0, 0], [0, 0]] and copy_groups(found) is None


def test_of_a_large_set_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SAMPLED_IMAGES", 5)
    monkeypatch.setattr("pretask.data.splits.apply.SAMPLED_IMAGES", 5)
    for i in range(6):
        picture(tmp_path / f"photos/{'cat' if i % 2 else 'dog'}/{i}.png", size=(8 + i, 8), seed=i)
    data = load_data(tmp_path / "photos")
    assert (data.train.contents[:, 1] == 0).all() and (data.train.contents[:, 0] > 0).all()
    assert apply_splits(data).notes[0].startswith("copies are not looked for among more than 5 images")
