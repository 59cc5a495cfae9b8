"""Handwritten digits that come with scikit-learn: nothing to download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pretask.data.images.containers import ArrayImages, LabelledImages, RawData
from pretask.data.sources import SOURCES
from pretask.data.splits.indices import hold_out

TEST_IMAGES = 599
SPLIT_SEED = 0
FILE = "datasets/data/digits.csv.gz"


@SOURCES.register("digits")
def read_digits(folder: Path, download: bool) -> RawData:
    """Handwritten digits: 1,198 + 599 of 8x8, 10 classes; comes with scikit-learn"""
    values, labels = _read()
    # 0..16 becomes 0..255: 16 * 255 / 16, rounded.
    pixels = (values * (255 / 16)).round().to(torch.uint8).reshape(-1, 1, 8, 8)
    everything = LabelledImages(ArrayImages(pixels), labels)
    train, test = hold_out(everything.labels, TEST_IMAGES, SPLIT_SEED)
    return RawData(
        name="digits",
        splits={"train": everything.subset(train), "test": everything.subset(test)},
        class_names=tuple(str(digit) for digit in range(10)),
        augment="crop",
        notes=(f"test: {TEST_IMAGES} of {len(everything)} images held out, seed {SPLIT_SEED}",),
    )


def _read() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's pixels, float64 [n, 64] of 0 … 16, and labels; importing it takes as long as torch."""
    found = find_spec("sklearn")
    file = Path(found.origin or "").parent / FILE if found is not None else Path()
    if not file.is_file():
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        return torch.from_numpy(pixels), torch.from_numpy(labels).long()
    rows = torch.from_numpy(np.loadtxt(file, delimiter=","))
    return rows[:, :-1], rows[:, -1].long()
