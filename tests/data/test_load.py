"""`load_data`: what it takes, and what it finds out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pretask.data import ArrayImages, FileImages, create_loader, load_data, prepare
from pretask.data.fitting import fit
from pretask.data.sources import SOURCES
from pretask.errors import PretaskError

RNG = np.random.default_rng(0)


def save(path, size=(6, 6), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(path)


@pytest.fixture
def pets(tmp_path):
    for kind in ("cat", "dog"):
        for i in range(4):
            save(tmp_path / "pets" / kind / f"{i}.png")
    return tmp_path / "pets"


@pytest.fixture
def mixed(pets):
    save(pets / "cat" / "large.png", (12, 300))
    return pets


def test_equal_sizes_are_decoded_into_memory(pets):
    data = load_data(pets)
    assert isinstance(data.train.images, ArrayImages)
    assert data.train.images.describe(4) == "dog/0.png"
    assert not data.mixed_sizes


def test_an_image_is_seen_alike_wherever_it_lies(tmp_path):
    """JPEGs too, which could be decoded at a part of their size: from memory, from files and in batches."""
    for i, kind in enumerate(("cat", "dog")):
        folder = tmp_path / "set" / kind
        folder.mkdir(parents=True)
        stripes = 127 + 120 * np.sign(np.sin(np.mgrid[:300, :300][i] / 1.3))
        Image.fromarray(stripes.astype(np.uint8)).save(folder / "a.jpg", quality=90)
    kept, left = (load_data(tmp_path / "set", image_size=32, memory_limit=limit) for limit in (2**20, 0))
    assert isinstance(kept.train.images, ArrayImages)
    assert isinstance(left.train.images, FileImages)
    assert kept.train.images.storage.shape == (2, 1, 300, 300)
    shown = []
    for data in (kept, left):
        shown.append(torch.stack([data.train.images.fitted(i, (32, 32)) for i in range(2)]))
        for kind in ("resident", "streaming"):
            loader = create_loader(
                data.train, image_size=(32, 32), batch_size=2, device="cpu", train=False, kind=kind, workers=0
            )
            shown.append((next(loader.epoch(0)).images * 255).round().byte())
    whole = torch.stack([fit(left.train.images.read(i), (32, 32)) for i in range(2)])
    assert all(torch.equal(whole, other) for other in shown)


def test_large_sets_stay_in_files(pets):
    data = load_data(pets, memory_limit=8 * 6 * 6 * 3 - 1)
    assert isinstance(data.train.images, FileImages)
    assert isinstance(load_data(pets, memory_limit=8 * 6 * 6 * 3).train.images, ArrayImages)


def lines(data):
    return [decision.line() for decision in data.decisions]


def test_a_size_is_decided_where_the_images_differ(mixed):
    data = load_data(mixed)
    assert (data.image_size, data.mixed_sizes) == ((16, 16), True)
    assert lines(data) == [
        "image size 16: the images differ in size, from 6x6 to 12x300; "
        "three quarters of them have a shorter side of 6 pixels or more"
    ]
    data = load_data(mixed, image_size=16)
    assert (data.image_size, data.mixed_sizes) == ((16, 16), True)
    assert isinstance(data.train.images, FileImages)
    assert data.train.images.read(4).shape == (3, 12, 300)
    assert data.decisions == ()
    assert load_data(mixed, image_size=(8, 24)).image_size == (8, 24)


@pytest.mark.parametrize(
    ("shorter", "largest", "side"),
    [
        ([20, 90, 100, 110], 224, 88),  # three of four have 90 or more
        ([20, 20, 100, 110, 120], 224, 16),
        ([20, 100, 110, 120, 130], 224, 96),
        ([230, 240, 250, 260], 224, 224),
        ([90, 100, 110, 120], 70, 64),
        ([5, 6, 7, 9], 224, 16),
        ([40, 47, 47, 60], 224, 40),
    ],
)
def test_few_images_are_enlarged_to_the_size_that_is_decided(tmp_path, shorter, largest, side):
    for i, length in enumerate(shorter):
        for kind in ("cat", "dog"):
            save(tmp_path / kind / f"{i}.png", (length, length + 9) if i % 2 else (length + 9, length))
    data = load_data(tmp_path, largest=largest)
    assert data.image_size == (side, side)
    (decision,) = data.decisions
    assert (decision.key, decision.value) == ("image_size", side)
    sides = sorted(shorter)
    stated = int(decision.reason.split("shorter side of ")[1].split()[0])
    assert 4 * sum(length >= stated for length in sides) >= 3 * len(sides)
    assert f"at most {largest} are used" in decision.reason or stated <= largest


@pytest.mark.parametrize("size", [(300, 300), (300, 400), (400, 160)])
def test_images_of_one_size_above_the_largest_are_seen_no_larger(tmp_path, size):
    for i, kind in enumerate(("cat", "dog")):
        save(tmp_path / "set" / kind / f"{i}.jpg", size)
    data = load_data(tmp_path / "set", largest=32)
    assert data.image_size == (32, 32)
    assert lines(data) == [f"image size 32: all images are {size[0]}x{size[1]}, larger than 32"]
    asked = load_data(tmp_path / "set", image_size=32)
    assert isinstance(data.train.images, ArrayImages)
    assert torch.equal(data.train.images.array, asked.train.images.array)
    own = load_data(tmp_path / "set", largest=max(size))
    assert (own.image_size, own.decisions) == (size, ())


def test_arrays_and_the_largest_side():
    pixels = torch.zeros(4, 3, 40, 30, dtype=torch.uint8)
    data = load_data((pixels, torch.arange(4) % 2), largest=24)
    assert (data.image_size, data.train.images.array.shape[2:], data.mixed_sizes) == (
        (24, 24),
        (40, 30),
        False,
    )
    assert load_data((pixels, torch.arange(4) % 2), largest=40).image_size == (40, 30)


def test_image_size_of_equal_sizes(pets):
    data = load_data(pets, image_size=(8, 9))
    assert data.image_size == (8, 9)
    assert data.train.images.array.shape[2:] == (6, 6)


def test_grey_and_colour_together_are_colour(pets):
    save(pets / "dog" / "grey.png", mode="L")
    decided = load_data(pets)
    assert lines(decided) == ["channels 3: 8 images have colours, 1 are grey"]
    assert torch.equal(decided.train.images.array, load_data(pets, channels=3).train.images.array)
    assert load_data(pets, memory_limit=0).train.images.read(8).shape == (3, 6, 6)
    for channels in (1, 3):
        data = load_data(pets, channels=channels)
        assert (data.channels, data.decisions) == (channels, ())
        assert data.train.images.array.shape == (9, channels, 6, 6)
        assert len(data.mean) == channels


@pytest.mark.parametrize("limit", [10**9, 0], ids=["in memory", "in files"])
@pytest.mark.parametrize("size", [None, 8])
def test_unreadable_images(pets, limit, size):
    whole = (pets / "dog" / "0.png").read_bytes()
    (pets / "dog" / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PretaskError, match=r"cannot read .*dog/0.png \(.*\): .*--skip-bad"):
        load_data(pets, memory_limit=limit, image_size=size)
    (pets / "cat" / "1.png").write_text("no image")
    with pytest.raises(PretaskError, match=r"cannot read 2 images, the first of them .*cat/1.png"):
        load_data(pets, memory_limit=limit, image_size=size)
    data = load_data(pets, memory_limit=limit, image_size=size, skip_bad=True)
    assert len(data.train) == 6
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [name.rsplit("pets/")[-1] for name in data.skipped] == ["cat/1.png", "dog/0.png"]
    assert [data.train.images.describe(i) for i in (1, 3)] == ["cat/2.png", "dog/1.png"]
    assert "2 unreadable images left out" in data.summary()


def test_a_class_whose_images_are_all_unreadable(pets):
    for i in range(4):
        (pets / "dog" / f"{i}.png").write_text("no image")
    with pytest.raises(PretaskError, match="class 'dog' of pets has no readable train image"):
        load_data(pets, skip_bad=True)
    for i in range(4):
        (pets / "cat" / f"{i}.png").write_text("no image")
    with pytest.raises(PretaskError, match="pets has no train images"):
        load_data(pets, skip_bad=True)


def test_large_sets_are_looked_through_by_header_only(pets, monkeypatch):
    monkeypatch.setattr(prepare, "CHECKED_IMAGES", 3)
    whole = (pets / "dog" / "3.png").read_bytes()
    (pets / "dog" / "3.png").write_bytes(whole[:-40])
    monkeypatch.setattr("pretask.data.images.channel_moments.MOST_DECODED", 1)
    data = load_data(pets, memory_limit=0)
    with pytest.raises(PretaskError, match=r"dog/3.png"):
        data.train.images.read(7)
    assert len(load_data(pets, memory_limit=0, skip_bad=True).train) == 7


def test_a_finished_data_set_is_taken_as_it_is(pets):
    data = load_data(pets)
    assert load_data(data) is data
    assert load_data(data, image_size=9).image_size == (9, 9)


def test_a_size_that_is_given_takes_the_place_of_the_decision(mixed):
    save(mixed / "dog" / "grey.png", mode="L")
    data = load_data(mixed)
    assert [decision.key for decision in data.decisions] == ["image_size", "channels"]
    given = load_data(data, image_size=9)
    assert (given.image_size, [decision.key for decision in given.decisions]) == ((9, 9), ["channels"])


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("digit", {}, "unknown data set 'digit'; did you mean 'digits'.*class folders.*hf:OWNER/NAME"),
        ("./nope", {}, "no file or folder nope"),
        ("no/such/folder", {}, "no file or folder no/such/folder"),
        ("photos.npz", {}, "no file or folder photos.npz"),
        ("digits", {"channels": 2}, "channels must be 1 or 3, not 2"),
        ("digits", {"image_size": 0}, "positive whole numbers, not 0"),
        ("digits", {"image_size": (3, 4, 5)}, "one or two positive"),
        ("digits", {"largest": 8}, "largest must be at least 16, not 8"),
    ],
)
def test_refusals(source, options, message):
    with pytest.raises(PretaskError, match=message) as caught:
        load_data(source, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pets.zip", "is an archive: unpack it"),
        ("pets.tar.gz", "is an archive: unpack it"),
        ("cat.jpg", "is one image"),
        ("notes.txt", "is no data set"),
    ],
)
def test_files_of_other_kinds(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PretaskError, match=message):
        load_data(tmp_path / name)


def test_a_folder_that_may_not_be_read(pets, monkeypatch):
    def refuse(path, *_: object):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pretask.data.load.read_path", refuse)
    with pytest.raises(PretaskError, match=r"cannot read .*pets \(Permission denied\)"):
        load_data(pets)


def test_every_source_says_what_it_is():
    for name in SOURCES.names():
        about = (SOURCES.get(name).__doc__ or "").splitlines()[0]
        assert any(figure.isdigit() for figure in about), name


def test_the_package_imports_without_torch():
    code = "import sys, pretask.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_data_at_another_size_are_augmented_as_if_read_at_it():
    pixels = torch.randint(256, (8, 3, 96, 96), dtype=torch.uint8)
    whole = load_data((pixels, torch.arange(8) % 2))
    for size in (32, 96):
        read = load_data((pixels, torch.arange(8) % 2), image_size=size)
        assert load_data(whole, image_size=size).augment == read.augment, size
    own = replace(whole, augment="none")
    assert load_data(own, image_size=32).augment == "none"
