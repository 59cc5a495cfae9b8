"""Tiny ImageNet, as tiny-imagenet-200.zip unpacks."""

from __future__ import annotations

from pathlib import Path

from pretask.data.images.containers import RawData
from pretask.data.sources import SOURCES
from pretask.data.sources._layout import find_layout, from_entries, read_lines

_NEEDED = ("train", "val/val_annotations.txt", "words.txt")


@SOURCES.register("tiny-imagenet")
def read_tiny_imagenet(folder: Path, download: bool) -> RawData:
    """Tiny ImageNet: 100,000 + 10,000 photos of 64x64, 200 classes; unpack tiny-imagenet-200.zip

    Its validation images serve as the test set, because those of its test set have no labels.
    """
    top = find_layout("tiny-imagenet", folder, _NEEDED, "tiny-imagenet-200")
    train = [
        (file.relative_to(top).as_posix(), file.parts[-3])
        for file in sorted((top / "train").glob("*/images/*.JPEG"))
    ]
    # Each line: file, class, and a box, apart by tabs.
    rows = [(*line.split("\t"), "") for line in read_lines(top / "val" / "val_annotations.txt")]
    test = [(f"val/images/{row[0]}", row[1]) for row in rows]
    words = (line.partition("\t") for line in read_lines(top / "words.txt"))
    names = {kind: meaning.split(",")[0] for kind, _, meaning in words}
    return from_entries("tiny-imagenet", top, {"train": train, "test": test}, names, image_size=(64, 64))
