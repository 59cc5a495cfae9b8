"""`apply_splits`: which images end up where, and what is computed anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pretask.data import apply_splits, load_data
from pretask.errors import PretaskError

RNG = np.random.default_rng(0)
COUNTS = (60, 30, 10)
LABELS = RNG.permutation(np.repeat(np.arange(3), COUNTS))
# Each image's pixels say which image it is.
IMAGES = np.arange(100, dtype=np.uint8).reshape(100, 1, 1).repeat(4, 1).repeat(4, 2)


def pair(first=0, last=100):
    return IMAGES[first:last], LABELS[first:last]


def numbers(split):
    return split.images.array[:, 0, 0, 0].tolist()


def test_test_then_validation_are_held_out():
    data = apply_splits(load_data(pair()))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [72, 8, 20]
    everything = numbers(data.train) + numbers(data.validation) + numbers(data.test)
    assert sorted(everything) == list(range(100))
    for split in (data.train, data.validation, data.test):
        assert split.labels.tolist() == LABELS[numbers(split)].tolist()
    assert data.notes == (
        "test: 20 train images held out, seed 0",
        "validation: 8 train images held out, seed 0",
    )


def test_own_test_and_validation_sets_are_kept():
    data = load_data({"train": pair(0, 60), "val": pair(60, 80), "test": pair(80, 100)})
    split = apply_splits(data, validation=0.5)
    assert (split.train, split.validation, split.test) == (data.train, data.validation, data.test)
    assert (split.mean, split.notes) == (data.mean, ())


def test_no_validation_and_a_number():
    data = load_data({"train": pair(), "test": (IMAGES + 100, LABELS)})
    assert apply_splits(data, validation=0).validation is None
    assert len(apply_splits(data, validation=15).validation) == 15


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"per_class": 4}, [4, 4, 4]),
        ({"label_fraction": 0.5}, [30, 15, 5]),
        ({"imbalance": 4}, [60, 30, 10]),
        ({"imbalance": 10, "imbalance_profile": "step"}, [60, 6, 6]),
    ],
)
def test_train_is_reduced_and_nothing_else(options, expected):
    whole = load_data({"train": pair(), "test": (IMAGES + 100, LABELS)})
    data = apply_splits(whole, validation=0, **options)
    assert data.class_counts.tolist() == expected
    assert len(data.test) == 100
    assert len(data.notes) == 1
    pixels = data.train.images.array.double() / 255
    assert data.mean[0] == pytest.approx(pixels.mean().item())
    assert data.std[0] == pytest.approx(pixels.std(correction=0).item())


def test_validation_does_not_depend_on_the_reduction():
    data = load_data({"train": pair(), "test": (IMAGES + 100, LABELS)})
    assert numbers(apply_splits(data).validation) == numbers(apply_splits(data, per_class=2).validation)


def test_pixels_are_shared_with_the_whole_set():
    data = load_data(pair())
    split = apply_splits(data, per_class=3)
    assert split.train.images.storage is data.train.images.storage
    assert split.test.images.storage is data.train.images.storage


def test_seeds():
    data = load_data(pair())
    assert numbers(apply_splits(data, seed=1).train) == numbers(apply_splits(data, seed=1).train)
    assert numbers(apply_splits(data, seed=1).train) != numbers(apply_splits(data, seed=2).train)


def test_a_tail_is_cut_from_what_per_class_leaves():
    data = apply_splits(load_data(pair()), per_class=5, imbalance=5, validation=0)
    assert data.class_counts.tolist() == [
        5,
        *(int(5 * 0.2 ** (c / (len(data.class_names) - 1))) for c in range(1, len(data.class_names))),
    ]


def small(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return load_data((np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4), np.uint8), labels))


def test_single_images_of_a_class_stay_in_train():
    data = apply_splits(small(2, 1))
    assert (data.train.labels.tolist(), data.test.labels.tolist(), data.validation) == ([0, 1], [0], None)
    assert data.notes == (
        "test: 1 train images held out, seed 0",
        "validation: none, each class has a single train image left, and two are needed",
    )
    data = apply_splits(small(1, 1))
    assert (len(data.train), data.validation, data.test) == (2, None, None)
    assert [note.split(":")[0] for note in data.notes] == ["test", "validation"]


def test_a_share_is_no_more_than_classes_can_give():
    data = apply_splits(small(2, 1, 1, 1, 1, 1, 1, 1), validation=0)
    assert (len(data.train), data.test.labels.tolist()) == (8, [0])
    with pytest.raises(PretaskError, match="hold out 1 or fewer"):
        apply_splits(replace(small(2, 1, 1), test=small(1, 1, 1).train), validation=2)


def test_a_thousand_classes_of_two():
    data = apply_splits(small(*[2] * 1000))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [1440, 160, 400]
    assert data.class_counts.min() == 1


def test_refusals():
    data = load_data(pair())
    with pytest.raises(PretaskError, match="exclude one another"):
        apply_splits(data, per_class=3, label_fraction=0.5)
    with pytest.raises(PretaskError, match="class '2' has 7 train images, fewer than 8"):
        apply_splits(data, per_class=8)
