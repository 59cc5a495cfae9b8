"""Labels of any kind to class indices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretask.data.labels import encode_labels
from pretask.errors import PretaskError


@pytest.mark.parametrize(
    "labels",
    [
        [0, 2, 1],
        (0, 2, 1),
        np.array([0, 2, 1], dtype=np.uint8),
        np.array([[0], [2], [1]]),
        torch.tensor([0, 2, 1], dtype=torch.int32),
    ],
)
def test_integers(labels):
    encoded, names = encode_labels({"train": labels}, "pets")
    assert encoded["train"].dtype == torch.int64
    assert encoded["train"].tolist() == [0, 2, 1]
    assert names == ("0", "1", "2")


def test_names_of_integers():
    encoded, names = encode_labels({"train": [1, 0], "test": [1]}, "pets", ["cat", "dog"])
    assert names == ("cat", "dog")
    assert encoded["test"].tolist() == [1]


def test_booleans():
    encoded, _ = encode_labels({"train": [True, False]}, "pets")
    assert encoded["train"].tolist() == [1, 0]


def test_strings_are_numbered_in_order():
    encoded, names = encode_labels({"train": ["b", "a", "c"], "test": ["c", "b", "a"]}, "pets")
    assert names == ("a", "b", "c")
    assert encoded["train"].tolist() == [1, 0, 2]
    assert encoded["test"].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ({"train": ["a", "b"], "test": ["a", "c"]}, None, "only train has 'b'; only test has 'c'"),
        ({"train": list("abcdefg"), "test": ["a"]}, None, "'b', 'c', 'd' and 3 more"),
        ({"train": ["a", None]}, None, "empty entries"),
        ({"train": [0, 1], "test": [2]}, ["cat", "dog"], "test label 2 of pets .row 0. is out of range"),
        ({"train": [0, 0]}, ["cat", "dog"], "has 1 class"),
        ({"train": [0, 1]}, ["cat", "dog", "emu"], r"class 2 \('emu'\) of pets has no train image"),
        ({"train": [0.0, 1.0]}, None, "whole numbers"),
        ({"train": [0, 1j]}, None, "complex128"),
    ],
)
def test_faults(labels, names, message):
    with pytest.raises(PretaskError, match=message):
        encode_labels(labels, "pets", names)
