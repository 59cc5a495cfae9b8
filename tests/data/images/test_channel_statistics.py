"""Mean and standard deviation against numpy."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pretask.data import ArrayImages, EncodedImages
from pretask.data.images import channel_moments as module
from pretask.data.images.channel_moments import channel_statistics

PIXELS = np.random.default_rng(0).integers(0, 256, (70, 3, 9, 8), dtype=np.uint8)
PIXELS[:, 0] //= 3
STORE = ArrayImages(torch.from_numpy(PIXELS))


def test_against_numpy(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 1000)
    mean, std = channel_statistics(STORE)
    assert mean == pytest.approx(PIXELS.mean((0, 2, 3)) / 255)
    assert std == pytest.approx(PIXELS.std((0, 2, 3)) / 255)


def test_a_subset_counts_only_its_images():
    mean, _ = channel_statistics(STORE.subset([5, 6]))
    assert mean == pytest.approx(PIXELS[5:7].mean((0, 2, 3)) / 255)


def test_large_sets_are_sampled_by_seed(monkeypatch):
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 10)
    first = channel_statistics(STORE, seed=0)
    assert first == channel_statistics(STORE, seed=0)
    assert first != channel_statistics(STORE, seed=1)
    assert first[0] == pytest.approx(PIXELS.mean((0, 2, 3)) / 255, abs=0.05)


def test_images_that_have_to_be_decoded_weigh_the_same_whatever_their_size():
    def png(value, side):
        stream = io.BytesIO()
        Image.new("L", (side, side), value).save(stream, "PNG")
        return stream.getvalue()

    mean, std = channel_statistics(EncodedImages([png(0, 2), png(255, 50)], channels=3))
    assert mean == pytest.approx((0.5, 0.5, 0.5))
    assert std == pytest.approx((0.5, 0.5, 0.5))


def test_constant_images_do_not_give_a_zero_to_divide_by():
    _, std = channel_statistics(ArrayImages(torch.zeros(4, 1, 2, 2, dtype=torch.uint8)))
    assert std == (1 / 255,)
