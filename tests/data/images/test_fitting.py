"""Bringing images to size without randomness."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from pretask.data.images.decode import fit, resize_cover, zoomed


def image(height, width, channels=3):
    return torch.randint(256, (channels, height, width), dtype=torch.uint8, generator=torch.manual_seed(0))


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (96, 64)])
def test_an_image_of_the_size_is_left_alone(size):
    given = image(*size)
    assert fit(given, size) is given
    assert resize_cover(given, size) is given


@pytest.mark.parametrize("given", [(300, 200), (50, 400), (17, 17), (1, 1), (224, 300)])
@pytest.mark.parametrize("size", [(32, 32), (224, 224), (64, 96)])
def test_any_size_becomes_the_size(given, size):
    assert fit(image(*given), size).shape == (3, *size)
    assert fit(image(*given), size).dtype == torch.uint8


def test_photos_are_evaluated_as_imagenet_networks_are():
    given = image(300, 400)
    usual = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    assert torch.equal(fit(given, (224, 224)), usual(given))
    assert zoomed((224, 224)) == (256, 256)


def test_small_images_keep_their_whole_shorter_side():
    given = image(64, 48)
    usual = v2.Compose([v2.Resize(32, antialias=True), v2.CenterCrop(32)])
    assert torch.equal(fit(given, (32, 32)), usual(given))
