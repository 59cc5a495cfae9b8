"""Pictures with planted faults: textures of two classes, some of them copied, spoiled, or in the wrong class."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

SIDE = 64
CLASSES = ("leaf", "stone")


def texture(seed: int, label: int, height: int = SIDE, width: int = SIDE) -> Image.Image:
    """Return a picture like no other: coarse and fine noise, greenish for the first class, reddish for the second."""
    draws = np.random.default_rng([label, seed])

    def noise(cells: int) -> np.ndarray:
        grid = Image.fromarray(draws.integers(0, 256, (cells, cells), dtype=np.uint8))
        return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), dtype=float)

    grey = 0.45 * noise(6) + 0.35 * noise(16) + 0.2 * noise(48)
    tint = np.array([0.7, 1.0, 0.6] if label == 0 else [1.0, 0.7, 0.6])
    return Image.fromarray((grey[..., None] * tint).clip(0, 255).astype(np.uint8))


def changed(picture: Image.Image) -> Image.Image:
    """Return the same picture cut by a twentieth, brighter, and compressed anew."""
    width, height = picture.size
    cut = picture.crop((round(0.04 * width), round(0.01 * height), round(0.99 * width), round(0.96 * height)))
    stream = io.BytesIO()
    ImageEnhance.Brightness(cut).enhance(1.15).save(stream, "JPEG", quality=50)
    return Image.open(stream)


def plant(folder: Path, train: int = 24, test: int = 22) -> dict[str, set[str]]:
    """Write `folder` with train and test pictures of both classes; return the planted faults, by kind, as names."""
    for split, count, first in (("train", train, 0), ("test", test, 1000)):
        for label, name in enumerate(CLASSES):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(count):
                texture(first + i, label).save(place / f"{first + i:04}.png")
    leaf, stone = folder / "train/leaf", folder / "train/stone"
    shutil.copy(folder / "test/leaf/1000.png", leaf / "copied.png")
    Image.open(folder / "test/stone/1001.png").save(stone / "copied.bmp")  # the same pixels in another file
    shutil.copy(leaf / "0001.png", leaf / "twice.png")
    shutil.copy(leaf / "0002.png", stone / "two labels.png")
    changed(Image.open(folder / "test/stone/1003.png")).save(stone / "near.png")
    changed(Image.open(leaf / "0004.png")).save(leaf / "near.png")
    changed(Image.open(leaf / "0005.png")).save(stone / "near two labels.png")
    texture(50, 0).filter(ImageFilter.GaussianBlur(3)).save(leaf / "blurred.png")
    Image.new("RGB", (SIDE, SIDE), (120, 130, 90)).save(leaf / "empty.png")
    Image.eval(texture(51, 1), lambda value: value // 6).save(stone / "dark.png")
    Image.eval(texture(52, 1), lambda value: 215 + value // 8).save(stone / "bright.png")
    texture(53, 0, 4 * SIDE, 4 * SIDE).save(leaf / "large.png")
    wide = Image.new("RGB", (3 * SIDE, SIDE))
    for part in range(3):
        wide.paste(texture(60 + part, 0), (part * SIDE, 0))
    wide.save(leaf / "wide.png")
    whole = (stone / "0000.png").read_bytes()
    (stone / "torn.png").write_bytes(whole[: len(whole) // 2])
    texture(55, 1).save(stone / "site7_01.png")
    texture(56, 1).save(folder / "test/stone/site7_02.png")
    return {
        "unreadable": {"train/stone/torn.png"},
        "odd size": {"train/leaf/large.png"},
        "odd shape": {"train/leaf/wide.png"},
        "nearly empty": {"train/leaf/empty.png"},
        "very dark": {"train/stone/dark.png"},
        "very bright": {"train/stone/bright.png"},
        "blurred": {"train/leaf/blurred.png"},
        "copy in two splits": {"train/leaf/copied.png", "train/stone/copied.bmp"},
        "copy in two classes": {"train/stone/two labels.png"},
        "copy in its class": {"train/leaf/twice.png"},
        "near copy, two splits": {"train/stone/near.png"},
        "near copy, two classes": {"train/stone/near two labels.png"},
        "near copy in its class": {"train/leaf/near.png"},
        "group in two splits": {"train/stone/site7_01.png"},
    }
