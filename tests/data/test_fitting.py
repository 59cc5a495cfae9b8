"""Bringing images to size without randomness."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from pretask.data.fitting import as_evaluated, covering, fit, zoomed


def image(height, width, channels=3):
    return torch.randint(256, (channels, height, width), dtype=torch.uint8, generator=torch.manual_seed(0))


def picture(pixels):
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (96, 64)])
def test_an_image_of_the_size_is_left_alone(size):
    given = image(*size)
    assert fit(given, size) is given
    assert covering(size).tensor(given) is given


@pytest.mark.parametrize("given", [(300, 200), (50, 400), (17, 17), (1, 1), (224, 300)])
@pytest.mark.parametrize("size", [(32, 32), (224, 224), (64, 96)])
def test_any_size_becomes_the_size_in_memory_and_from_files_alike(given, size):
    pixels = image(*given)
    fitted = fit(pixels, size)
    assert (fitted.shape, fitted.dtype) == ((3, *size), torch.uint8)
    assert np.array_equal(np.asarray(as_evaluated(size).picture(picture(pixels))), fitted.permute(1, 2, 0))


@pytest.mark.parametrize("given", [(300, 400), (1200, 501), (40, 51), (225, 224), (64, 48)])
@pytest.mark.parametrize(("size", "side"), [(224, 256), (32, 32)])
def test_photos_are_evaluated_as_imagenet_networks_are(given, size, side):
    """As torchvision does, to a rounding; as Pillow does row by row, but for the last digit of where the centre is."""
    photo = picture(image(*given))
    fitted = fit(image(*given), (size, size)).permute(1, 2, 0).numpy().astype(int)
    usual = np.asarray(v2.Compose([v2.Resize(side), v2.CenterCrop(size)])(photo)).astype(int)
    assert np.abs(fitted - usual).max() <= 1
    height, width = as_evaluated((size, size)).resized(*given)
    whole = photo.resize((width, given[0]), Image.Resampling.BILINEAR)
    whole = whole.resize((width, height), Image.Resampling.BILINEAR)
    assert (fitted != np.asarray(v2.CenterCrop(size)(whole))).mean() < 0.005


@pytest.mark.parametrize("given", [(341, 700), (501, 343), (90, 77)])
@pytest.mark.parametrize("size", [(72, 72), (80, 97)])
def test_what_is_stored_for_crops_is_evaluated_as_the_original(given, size):
    """To the bit: photos are kept at the larger size once, for training and evaluation."""
    stored = covering(zoomed(size)).tensor(image(*given))
    assert torch.equal(fit(stored, size), fit(image(*given), size))


def test_only_above_64_pixels_the_centre_leaves_out_an_eighth():
    assert zoomed((224, 224)) == (256, 256)
    assert as_evaluated((64, 64)).cover == (64, 64)
    assert as_evaluated((72, 65)).cover == (82, 74)


@pytest.mark.parametrize("given", [(1, 20_000), (20_000, 1), (3, 20_000)])
@pytest.mark.parametrize("size", [(224, 224), (32, 32)])
def test_a_long_strip_costs_no_more_than_what_is_seen_of_it(given, size):
    """Whole, 1x20,000 would be enlarged to 256x5,120,000."""
    ramp = torch.arange(max(given)).div(max(given)).mul(255).to(torch.uint8)
    pixels = ramp.view(1, -1, 1).expand(3, -1, given[1]) if given[0] > given[1] else ramp.expand(3, *given)
    tracemalloc.start()
    fitted = fit(pixels, size)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20
    assert set(fitted.unique().tolist()) <= {126, 127, 128}, "the middle of the strip"
