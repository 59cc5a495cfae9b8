"""ImageNet-1k in train and val folders of class folders."""

from __future__ import annotations

from pathlib import Path

from pretask.data.images.containers import RawData
from pretask.data.readers.folder import scan
from pretask.data.sources import SOURCES
from pretask.data.sources._layout import find_layout, from_entries, read_lines
from pretask.errors import PretaskError


@SOURCES.register("imagenet")
def read_imagenet(folder: Path, download: bool) -> RawData:
    """ImageNet-1k: 1,281,167 + 50,000 photos, 1,000 classes, seen at 224x224; sort into train/ and val/

    The validation images serve as the test set, because those of the test set have no public labels. Where
    the contest's LOC_synset_mapping.txt lies beside the folders, classes are called by its words.
    """
    top = find_layout("imagenet", folder, ("train", "val"))
    entries = {split: _listed(top, part) for split, part in (("train", "train"), ("test", "val"))}
    return from_entries("imagenet", top, entries, _words(top))


def _listed(top: Path, part: str) -> list[tuple[str, str]]:
    classes = scan(top / part).classes
    if not classes or "" in classes:
        raise PretaskError(f"{top / part} needs a folder of images for each class, such as n01440764")
    return [(f"{part}/{kind}/{file}", kind) for kind, files in classes.items() for file in files]


def _words(top: Path) -> dict[str, str]:
    path = top / "LOC_synset_mapping.txt"
    if not path.is_file():
        return {}
    lines = (line.partition(" ") for line in read_lines(path))
    return {kind: words.split(",")[0].strip() for kind, _, words in lines}
