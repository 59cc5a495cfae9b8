"""`load_data`: one call from a name, a path or arrays to a data set whose facts are known."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretask.data.images.containers import SPLITS, ImageData, RawData
from pretask.data.loaders.augmentation import recommended_augment
from pretask.data.prepare import LARGEST, MEMORY_LIMIT, SMALLEST, prepare
from pretask.data.readers import KINDS, read_path
from pretask.data.readers.arrays import read_arrays
from pretask.data.readers.hub import is_hub_object, read_hub, read_hub_object
from pretask.data.sources import SOURCES
from pretask.errors import PretaskError, unknown_name
from pretask.io.files import is_text

LEFT_ON_HUB = "hf://"
"""How the name of a data set starts that stays on the Hub."""
AT_HAND = "(given in Python)"
"""Stands for the name of a data set that has none, since it was made of objects."""
Fingerprint = tuple[Any, ...]
_latest: list[tuple[Fingerprint, ImageData]] = []


def load_data(
    source: Any,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    skip_bad: bool = False,
    root: str | Path = "data",
    download: bool = True,
    memory_limit: int = MEMORY_LIMIT,
    largest: int = LARGEST,
    labelled: bool = True,
) -> ImageData:
    """Load a data set; class names, size, channels, mean and standard deviation are found.

    Args:
        source: a known name ("cifar10"), a path (folder of class folders, .csv of files and labels, parquet file or
            folder, .npz),
            "hf:OWNER/NAME", "hf://datasets/OWNER/NAME" to leave its parquet files on the Hub, a Hugging Face
            `Dataset` or `DatasetDict`, arrays as `(images, labels)` or `{"train": (images, labels), "test": …}`,
            or an `ImageData`, which is returned as it is but for size and channels, where these are given.
        image_size: side, or (height, width), at which the network is to see the images. Where it is left open, images
            of one size keep it up to `largest`; for others a square is decided from the sizes found.
        channels: 1 or 3; where it is left open, the images' own, and 3 where only some are grey.
        skip_bad: leave unreadable images out (and name them in `skipped`) instead of raising. Images that
            stay in files are then all decoded once, which takes a while for a large set.
        root: where named data sets are kept, each in a folder of its name.
        download: whether a named data set may be downloaded.
        memory_limit: a set of equally sized images is kept decoded in memory up to this many bytes.
        largest: side that is not exceeded where `image_size` is left open, at least 16.
        labelled: False takes a folder without class folders too, whose images then are all of one class.

    Returns:
        The data set, with what was decided in `decisions`. Loading the same .npz or parquet files again in one process
        gives the same tensors: treat them as read-only.

    Raises:
        PretaskError: the source is unknown, missing, empty or faulty, or the Hub does not answer; the message says
            what to do.
        MissingExtra: a Hugging Face data set needs the optional package `datasets`.
    """
    size = _checked_size(image_size)
    if channels not in (None, 1, 3):
        raise PretaskError(f"channels must be 1 or 3, not {channels}")
    if largest < SMALLEST:
        raise PretaskError(f"largest must be at least {SMALLEST}, not {largest}")
    if isinstance(source, ImageData):
        return _adapted(source, size, channels)
    options = {"image_size": size, "channels": channels, "skip_bad": skip_bad, "memory_limit": memory_limit}
    fingerprint = _fingerprint(source, {**options, "labelled": labelled, "largest": largest})
    if fingerprint is not None and _latest and _latest[0][0] == fingerprint:
        return _latest[0][1]
    data = prepare(
        read_raw(source, Path(root), download, labelled),
        image_size=size,
        channels=channels,
        skip_bad=skip_bad,
        memory_limit=memory_limit,
        largest=largest,
    )
    if not is_text(data.name):
        raise PretaskError(
            f"the name of {source} is not UTF-8, or has characters that are no text: rename it"
        )
    if isinstance(source, (str, Path)):
        place = str(source)
        place = place if place.startswith(LEFT_ON_HUB) else fixed_source(place)
        data = replace(
            data, source=place, mean=None, std=None
        )  # else they would be found here, of all images
    if fingerprint is not None:
        _latest[:] = [(fingerprint, data)]
    _return_table_memory()
    return data


def _adapted(data: ImageData, size: tuple[int, int] | None, channels: int | None) -> ImageData:
    """Return data at a size and with channels, each as it is where None; the usual augmentation follows the size."""
    given = {"image_size": size, "channels": channels}
    decided = tuple(decision for decision in data.decisions if given.get(decision.key) is None)
    if size is not None and size != data.image_size:
        augment, flip = data.augment, data.channels == 3
        if augment == recommended_augment(data.image_size, flip):
            augment = recommended_augment(size, flip)
        data = replace(data, image_size=size, augment=augment, decisions=decided)
    if channels in (None, data.channels):
        return data
    converted = {
        name: replace(part, images=part.images.converted(channels))
        for name in (*SPLITS, "unlabelled")
        if (part := getattr(data, name)) is not None
    }
    return replace(data, **converted, channels=channels, mean=None, std=None, decisions=decided)


def fixed_source(source: str) -> str:
    """Return what names a data set, as it is the same everywhere and at any time.

    A path is absolute; what is read from the Hub has the commit that it is at now.

    Raises:
        PretaskError: the commit cannot be asked for.
    """
    if source.startswith(LEFT_ON_HUB):
        from pretask.data.readers.hub_stream import at_commit

        return at_commit(source)
    if source in SOURCES.names() or source.startswith("hf:") or source == AT_HAND:
        return source
    path = Path(source).expanduser()
    is_path = path.exists() or {"/", "\\", "."} & set(source)
    return os.path.abspath(path) if is_path else source  # noqa: PTH100, which keeps links and drops ".."


def has_place(source: str) -> bool:
    """Whether what names a data set, see `fixed_source`, is no path, a pattern of paths, or a path that exists."""
    path = Path(source)
    return not path.is_absolute() or path.exists() or bool({"*", "?", "["} & set(source))


def _return_table_memory() -> None:
    """Give back what pyarrow holds for tables that are decoded: for CIFAR-10 about as much as the images take."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()


def read_raw(source: Any, root: Path, download: bool, labelled: bool) -> RawData:
    """Return what a reader finds at a source, before an image is looked at; see `load_data`."""
    if isinstance(source, (tuple, list, Mapping)) and not is_hub_object(source):
        return read_arrays(source)
    if is_hub_object(source):
        return read_hub_object(source, "data set")
    if isinstance(source, Path):
        return _read_existing(source, labelled)
    if not isinstance(source, str):
        raise PretaskError(f"cannot load data from a {type(source).__name__}: give a name, a path or arrays")
    if source in SOURCES.names():
        return SOURCES.get(source)(root / source, download)
    if source.startswith(LEFT_ON_HUB):
        from pretask.data.readers.hub_stream import read_hub_stream

        return read_hub_stream(source)
    if source.startswith("hf:"):
        return read_hub(source.removeprefix("hf:"))
    path = Path(source).expanduser()
    if not path.exists() and not {"/", "\\", "."} & set(source):  # a name, not a path
        raise PretaskError(f"{unknown_name('data set', source, SOURCES.names())}; or give {KINDS}")
    return _read_existing(path, labelled)


def _read_existing(path: Path, labelled: bool) -> RawData:
    path = path.expanduser()
    try:
        return read_path(path, labelled)
    except OSError as fault:
        raise PretaskError(
            f"cannot read {path} ({fault.strerror or fault}): check its permissions"
        ) from fault


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise PretaskError(f"image size must be one or two positive whole numbers, not {size}")
    return pair[0], pair[1]


def _fingerprint(source: Any, options: Mapping[str, Any]) -> Fingerprint | None:
    """Identify the files behind a path, where they are few enough to be certain that none has changed."""
    if not isinstance(source, (str, Path)) or source in SOURCES.names():
        return None
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() in (".npz", ".parquet"):  # a list says nothing of its files
        files = [path]
    elif path.is_dir() and (path / "train.parquet").is_file():
        files = sorted(path.glob("*.parquet"))
    else:
        return None
    stats = [file.stat() for file in files]
    state = [(str(file), stat.st_mtime_ns, stat.st_size) for file, stat in zip(files, stats, strict=True)]
    return (str(path.resolve()), *state, *sorted(options.items(), key=lambda item: item[0]))
