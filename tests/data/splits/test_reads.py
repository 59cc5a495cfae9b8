"""How often images are read before a training: mean and deviation are taken once, of the images that are left."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pretask.data import FileImages, apply_splits, load_data
from pretask.data.images.channel_moments import channel_statistics
from pretask.data.splits.classes import split_classes

IMAGES, CLASSES = 60, 3


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, noise = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(IMAGES):
        path = folder / "abc"[i % CLASSES] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture
def reads(monkeypatch):
    """The images that are decoded from here on, by their paths."""
    found, real = [], FileImages._decode

    def counted(self, i, fitting=None):
        found.append(self.paths[i])
        return real(self, i, fitting)

    monkeypatch.setattr(FileImages, "_decode", counted)
    return found


def test_statistics_are_taken_once_and_of_the_images_that_are_trained_on(photos, reads):
    data = apply_splits(load_data(photos, memory_limit=0), per_class=10)
    assert len(reads) <= IMAGES + 1, "each is looked at once, to find those that cannot be read"
    reads.clear()
    assert data.summary()
    assert reads == []
    assert (data.mean, data.std) == channel_statistics(data.train.images)
    assert sorted(reads) == sorted(2 * data.train.images.paths), "once by the data set, once by this test"
    reads.clear()
    assert data.facts()["mean"] == [round(value, 4) for value in data.mean]
    assert reads == []


def test_data_that_is_not_split_has_the_statistics_of_all_its_train_images(photos, reads):
    data = load_data(photos, memory_limit=0)
    reads.clear()
    assert len(data.mean) == len(data.std) == 3
    assert len(reads) == IMAGES
    kept = apply_splits(load_data({"train": _arrays(), "val": _arrays(), "test": _arrays()}))
    assert (kept.mean, kept.std) == channel_statistics(kept.train.images)


def test_shared_out_classes_have_the_statistics_of_the_train_classes(photos, reads):
    parts = split_classes(load_data(photos, memory_limit=0), seed=0)
    expected = channel_statistics(parts.train.train.images)
    reads.clear()
    for part in (parts.train, parts.validation, parts.test):
        assert (part.mean, part.std) == expected
    assert reads == []


def _arrays():
    return np.arange(12 * 16, dtype=np.uint8).reshape(12, 4, 4), np.arange(12) % 2
