"""Decode a whole data set into memory when its images have one shape and it is small enough."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from pretask.data.decode import UnreadableImageError
from pretask.data.images import ArrayImages, FileImages, ImageStore, LabelledImages
from pretask.data.parallel import map_indices
from pretask.data.survey import Bad

MEMORY_LIMIT = 512 * 2**20
"""Bytes of decoded images up to which a data set is kept decoded."""


def physical_memory() -> int:
    """Return the bytes of memory that this machine has; where it does not tell, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # AttributeError: no POSIX
        return 2**63


def decode_into_memory(
    splits: Mapping[str, LabelledImages], limit: int
) -> tuple[dict[str, LabelledImages], Bad] | None:
    """Return the splits as `ArrayImages`, and which of their images are unreadable (left as noise).

    Returns None where the decoded images would take more than `limit` bytes together, or differ in shape.
    """
    shape = _first_shape([split.images for split in splits.values()])
    total = sum(len(split) for split in splits.values())
    if shape is None or total * shape.numel() > limit:
        return None
    decoded: dict[str, LabelledImages] = {}
    bad: Bad = {}
    for name, split in splits.items():
        bad[name] = {}
        images = _decode_store(split.images, shape, f"decoding {name} images", bad[name])
        if images is None:
            return None
        decoded[name] = LabelledImages(images, split.labels)
    return decoded, bad


def _first_shape(stores: list[ImageStore]) -> torch.Size | None:
    for store in stores:
        for i in range(len(store)):
            try:
                return store.read(i).shape
            except UnreadableImageError:
                continue
    return None


def _decode_store(
    store: ImageStore, shape: torch.Size, what: str, bad: dict[int, UnreadableImageError]
) -> ArrayImages | None:
    storage = torch.empty((len(store), *shape), dtype=torch.uint8)
    pixels = storage.numpy()  # writing a row through numpy is several times cheaper

    def decode_one(i: int) -> bool:
        try:
            image = store.read(i)
        except UnreadableImageError as fault:
            bad[i] = fault
            return True
        if image.shape != shape:
            return False
        pixels[i] = image.numpy()
        return True

    if not all(map_indices(decode_one, range(len(store)), what)):
        return None
    return ArrayImages(storage, names=store.paths if isinstance(store, FileImages) else None)
