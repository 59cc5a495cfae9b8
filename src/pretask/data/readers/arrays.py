"""Arrays of pixels and labels: numpy arrays or torch tensors in memory, or an .npz file of them."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretask.data.images.containers import SPLITS, ArrayImages, LabelledImages, RawData, split_of
from pretask.data.labels import as_array, check_count, encode_labels
from pretask.data.prepare import physical_memory
from pretask.errors import PretaskError
from pretask.io.documents import one_line
from pretask.io.files import check_regular

_SHAPES = "(n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3"


def read_arrays(source: Any, name: str = "arrays") -> RawData:
    """Read `(images, labels)` or `{"train": (images, labels), "validation": …, "test": …}`.

    Images are uint8, or floating point in [0, 1]; labels are integers 0..N-1 or strings.

    Raises:
        PretaskError: shapes, ranges or counts are not as said here.
    """
    pairs = _named_pairs(source)
    images = {split: images_from_array(pair[0], f"{split} images of {name}") for split, pair in pairs.items()}
    labels, class_names = encode_labels({split: pair[1] for split, pair in pairs.items()}, name)
    splits = {}
    for split, found in images.items():
        check_count(len(found), len(labels[split]), f"{split} of {name}")
        splits[split] = LabelledImages(found, labels[split])
    return RawData(name, splits, class_names)


def images_from_array(array: Any, what: str) -> ArrayImages:
    """Return images as uint8 [n, C, H, W]; an array that already is that is shared, not copied.

    Raises:
        PretaskError: the shape is ambiguous or unknown, or the values are outside their range.
    """
    tensor = array.detach() if isinstance(array, Tensor) else _tensor(array, what)
    return ArrayImages(_as_uint8(_channels_first(tensor, what), what))


def _named_pairs(source: Any) -> dict[str, tuple[Any, Any]]:
    given = source if isinstance(source, Mapping) else {"train": source}
    pairs = {}
    for key, pair in given.items():
        split = split_of(str(key))
        if split is None:
            raise PretaskError(f"unknown split '{key}' of arrays: use train, validation and test")
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise PretaskError(
                f"{key} of arrays must be a pair (images, labels), not a {type(pair).__name__}"
            )
        pairs[split] = (pair[0], pair[1])
    if "train" not in pairs:
        raise PretaskError("arrays have no train split: give {'train': (images, labels), …}")
    return {split: pairs[split] for split in SPLITS if split in pairs}


def _tensor(array: Any, what: str) -> Tensor:
    found = as_array(array, what)
    if found.dtype.kind not in "uif":
        raise PretaskError(f"{what} are {found.dtype}: pixels must be uint8, or floating point in [0, 1]")
    if found.dtype.itemsize > 8:
        raise PretaskError(f"{what} are {found.dtype}: pixels must be uint8, or floating point in [0, 1]")
    native = found.astype(found.dtype.newbyteorder("="), copy=False)
    # Arrays read from files can be read-only, which torch warns about.
    return torch.from_numpy(native if native.flags.writeable else native.copy())


def _channels_first(images: Tensor, what: str) -> Tensor:
    shape = tuple(images.shape)
    if 0 in shape[1:]:
        raise PretaskError(f"{what} have shape {shape}: images without pixels cannot be distinguished")
    if images.ndim == 3:
        return images.unsqueeze(1)
    if images.ndim != 4:
        raise PretaskError(f"{what} have shape {shape}: {_SHAPES} is needed")
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first and last:
        raise PretaskError(f"{what} have shape {shape}, which could be NCHW or NHWC: make the sides larger")
    if not first and not last:
        raise PretaskError(f"{what} have shape {shape}: {_SHAPES} is needed")
    return images if first else images.permute(0, 3, 1, 2)


def _as_uint8(images: Tensor, what: str) -> Tensor:
    if images.dtype == torch.uint8:
        return images.cpu().contiguous()
    if not images.is_floating_point():
        raise PretaskError(f"{what} are {images.dtype}: pixels must be uint8 (0..255), or floats in [0, 1]")
    pixels = torch.empty(images.shape, dtype=torch.uint8)
    for chunk, out in zip(torch.split(images, 256), torch.split(pixels, 256), strict=True):
        if not torch.isfinite(chunk).all():
            raise PretaskError(f"{what} hold NaN or infinite pixels: floats must lie in [0, 1]")
        if chunk.numel() and (chunk.min() < 0 or chunk.max() > 1):
            low, high = chunk.min().item(), chunk.max().item()
            raise PretaskError(
                f"{what} are floats from {low:.3g} to {high:.3g}: scale them to [0, 1] or give uint8"
            )
        out.copy_((chunk * 255).round())
    return pixels


_NPZ_KEYS = {"train": "train", "validation": "val", "test": "test"}
_NPZ_FAULTS = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    NotImplementedError,  # what zipfile raises for a compression that it does not know
    RuntimeError,  # … and for one that is encrypted
    tokenize.TokenError,  # what numpy raises for some headers
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path) -> RawData:
    """Read `train_images` (n, H, W) or (n, H, W, 3) and `train_labels` (n, 1) or (n,); val, test alike.

    Raises:
        PretaskError: the file is broken, holds pickled objects, lacks arrays, or is larger than the memory.
    """
    try:
        _check_archive(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            pairs = {
                split: (arrays[f"{key}_images"], arrays[f"{key}_labels"])
                for split, key in _NPZ_KEYS.items()
                if _has_split(arrays, key, path)
            }
            found = ", ".join(arrays.files)
    except _NPZ_FAULTS as fault:
        reason = one_line(fault).rstrip(".")
        raise PretaskError(f"cannot read {path} ({reason}): write it with numpy.savez, no objects") from fault
    if "train" not in pairs:
        raise PretaskError(f"{path} has arrays {found or 'none'}: train_images and train_labels are needed")
    return replace(read_arrays(pairs, path.name), name=path.stem)


def _check_archive(path: Path) -> None:
    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > physical_memory():  # a small archive can announce any size
        raise PretaskError(
            f"{path} unpacks to {size / 2**30:,.1f} GiB, more than the memory of this machine: "
            "keep the images as files, in a folder of each class's name"
        )


def _has_split(arrays: Any, key: str, path: Path) -> bool:
    present = [name in arrays.files for name in (f"{key}_images", f"{key}_labels")]
    if any(present) and not all(present):
        missing = "labels" if present[0] else "images"
        raise PretaskError(f"{path} lacks the array {key}_{missing}: images and labels are needed together")
    return all(present)
