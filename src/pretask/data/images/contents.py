"""By what the content of images is recognised: their size in bytes, and a hash of all of it or of samples."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from pretask.data.images.stores import ArrayImages, EncodedImages, FileImages, ImageStore
from pretask.data.parallel import map_indices
from pretask.errors import PretaskError

SAMPLED_IMAGES = 100_000
"""Of a set of more images in files or tables no content is read: files are known by name and size."""
SLICES, SLICE_BYTES = 4, 16 * 2**10
"""A file is hashed whole up to `SLICES` x `SLICE_BYTES`, of a larger one so many slices, evenly from start to end."""
_CHUNK = 256
_UNKNOWN = (0, 0)


def contents_of_splits(stores: Mapping[str, ImageStore]) -> dict[str, Tensor]:
    """Return what the images of each split of a data set are recognised by; see `contents_of`."""
    read = sum(map(len, stores.values())) <= SAMPLED_IMAGES
    return {split: contents_of(store, read) for split, store in stores.items()}


def contents_of(store: ImageStore, read: bool = True) -> Tensor:
    """Return what images are recognised by, int64 [n, 2]: bytes and a hash, each 0 where it is not known.

    Of image files, the size on disk and a hash of slices; of arrays, all pixels; of encoded images in tables, all
    their bytes, unless these stay on the Hub.

    Args:
        store: the images, as they were found: not converted, not decoded.
        read: whether to read files and tables; without, of files only the sizes are known, of tables nothing.
    """
    if isinstance(store, ArrayImages):
        return _of_arrays(store)
    look = _look_at(store, read)
    if look is None:
        return torch.zeros((len(store), 2), dtype=torch.int64)
    found = list(map_indices(look, range(len(store)), "looking for copies", _CHUNK))
    return torch.from_numpy(np.array(found, dtype=np.int64).reshape(-1, 2))


def _look_at(store: ImageStore, read: bool) -> Callable[[int], tuple[int, int]] | None:
    if isinstance(store, FileImages):
        # Of a million paths, pathlib's way takes seconds.
        top, paths = str(store.folder), store.paths
        return lambda i: _of_file(os.path.join(top, paths[i]), read)  # noqa: PTH118
    if isinstance(store, EncodedImages):
        return None if not read or getattr(store.items, "remote", False) else lambda i: _of_cell(store, i)
    return (lambda i: _of_pixels(store.read(i))) if read else None


def _of_file(path: str, read: bool) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
            return _UNKNOWN
        if not read:
            return found.st_size, 0
        with open(path, "rb") as file:  # noqa: PTH123
            return found.st_size, _hash_file(file.fileno(), found.st_size)
    except (OSError, ValueError):  # what cannot be read is reported where it is decoded
        return _UNKNOWN


def _hash_file(descriptor: int, size: int) -> int:
    digest = hashlib.blake2b(digest_size=8)
    if size <= SLICES * SLICE_BYTES:
        digest.update(os.read(descriptor, size))
        return _number(digest)
    for i in range(SLICES):
        os.lseek(descriptor, i * (size - SLICE_BYTES) // (SLICES - 1), os.SEEK_SET)
        digest.update(os.read(descriptor, SLICE_BYTES))
    return _number(digest)


def _of_cell(store: EncodedImages, i: int) -> tuple[int, int]:
    try:
        content = store.encoded(i)
    except PretaskError:  # reported where it is decoded
        return _UNKNOWN
    return len(content), _number(hashlib.blake2b(content, digest_size=8))


def _of_pixels(image: Tensor) -> tuple[int, int]:
    row = _of_arrays(ArrayImages(image.unsqueeze(0)))
    return int(row[0, 0]), int(row[0, 1])


def _of_arrays(store: ArrayImages) -> Tensor:
    # With the shape, so that 8x2 and 4x4 black pixels are not the same image.
    start = hashlib.blake2b(repr(tuple(store.storage.shape[1:])).encode(), digest_size=8)
    pixels, hashes = store.storage.numpy(), np.empty(len(store), dtype=np.int64)
    for i, row in enumerate(range(len(store)) if store.rows is None else store.rows.tolist()):
        digest = start.copy()
        digest.update(np.ascontiguousarray(pixels[row]).data)
        hashes[i] = _number(digest)
    sizes = np.full(len(store), store.storage[:1].numel(), dtype=np.int64)
    return torch.from_numpy(np.stack([sizes, hashes], axis=1))


def _number(digest: hashlib.blake2b) -> int:
    return int.from_bytes(digest.digest(), "little", signed=True) or 1


def copy_groups(contents: Tensor) -> Tensor | None:
    """Return for each image the row of the first that has the same content, int64 [n]; None where all differ.

    Args:
        contents: see `contents_of`; images of which no hash is known are no copies of any.
    """
    sizes, hashes = contents.numpy().T
    with np.errstate(over="ignore"):
        keys = sizes * np.int64(0x9E3779B97F4A7C1) ^ hashes
    known = np.flatnonzero(hashes)
    _, first, of = np.unique(keys[known], return_index=True, return_inverse=True)
    if len(first) == len(known):
        return None
    groups = np.arange(len(contents))
    groups[known] = known[first[of]]
    return torch.from_numpy(groups)


def copies_of(contents: Tensor, others: Tensor) -> int:
    """Return how many images have the content of one of the others."""
    known = {tuple(row) for row in others.tolist() if row[1]}
    return sum(tuple(row) in known for row in contents.tolist())
