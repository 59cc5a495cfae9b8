"""Handwritten digits that come with scikit-learn: nothing to download."""

from __future__ import annotations

from pathlib import Path

import torch

from pretask.data.images.containers import ArrayImages, LabelledImages, RawData
from pretask.data.sources import SOURCES
from pretask.data.splits.indices import hold_out

TEST_IMAGES = 599
SPLIT_SEED = 0


@SOURCES.register("digits")
def read_digits(folder: Path, download: bool) -> RawData:
    """Handwritten digits: 1,198 + 599 of 8x8, 10 classes; comes with scikit-learn"""
    from sklearn.datasets import load_digits

    found = load_digits()
    # 0..16 becomes 0..255: 16 * 255 / 16, rounded.
    pixels = (torch.from_numpy(found.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    everything = LabelledImages(ArrayImages(pixels), torch.from_numpy(found.target).long())
    train, test = hold_out(everything.labels, TEST_IMAGES, SPLIT_SEED)
    return RawData(
        name="digits",
        splits={"train": everything.subset(train), "test": everything.subset(test)},
        class_names=tuple(str(digit) for digit in range(10)),
        augment="crop",
        notes=(f"test: {TEST_IMAGES} of {len(everything)} images held out, seed {SPLIT_SEED}",),
    )
