"""MIT Indoor 67: the unpacked archive and its two lists."""

from __future__ import annotations

from pathlib import Path

from pretask.data.images.containers import RawData
from pretask.data.sources import SOURCES
from pretask.data.sources._layout import find_layout, from_entries, read_lines

_NEEDED = ("Images", "TrainImages.txt", "TestImages.txt")


@SOURCES.register("mit67")
def read_mit67(folder: Path, download: bool) -> RawData:
    """MIT Indoor 67: 5,360 + 1,340 photos of rooms, 67 classes, seen at 224x224; unpack indoorCVPR_09.tar"""
    top = find_layout("mit67", folder, _NEEDED)
    entries = {
        split: [(f"Images/{line.strip()}", line.split("/")[0]) for line in read_lines(top / file)]
        for split, file in (("train", "TrainImages.txt"), ("test", "TestImages.txt"))
    }
    return from_entries("mit67", top, entries)
