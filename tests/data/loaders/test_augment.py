"""The augmentations: names, descriptions, what is recommended."""

from __future__ import annotations

import pytest

from pretask.data.loaders.augmentation import (
    augment_descriptions,
    augment_names,
    get_augmentation,
    padding,
    recommended_augment,
)
from pretask.errors import PretaskError


def test_every_name_has_an_augmentation_and_a_line():
    names = augment_names()
    assert names[0] == "none"
    assert len(set(names)) == len(names)
    assert list(augment_descriptions()) == names
    for name in names:
        found = get_augmentation(name)
        assert found.name == name
        assert found.description == augment_descriptions()[name] != ""
        assert "\n" not in found.description


@pytest.mark.parametrize("name", augment_names())
def test_a_name_says_what_is_done(name):
    found = get_augmentation(name)
    assert found.flip == ("flip" in name)
    assert found.randaugment == ("randaugment" in name)
    expected = "resized" if "resized-crop" in name else "pad" if "crop" in name else None
    assert found.crop == expected


def test_unknown_name_tells_the_nearest():
    with pytest.raises(PretaskError, match="did you mean 'crop-flip'"):
        get_augmentation("crop-flp")


def test_recommendation_follows_the_size():
    assert recommended_augment((32, 32)) == "crop-flip"
    assert recommended_augment((64, 64)) == "crop-flip"
    assert recommended_augment((65, 32)) == "resized-crop-flip"
    assert recommended_augment((28, 28), flip=False) == "crop"
    assert recommended_augment((224, 224), flip=False) == "resized-crop"


def test_padding_is_the_usual_four_pixels_on_cifar():
    assert padding((32, 32)) == (4, 4)
    assert padding((64, 28)) == (8, 3)
