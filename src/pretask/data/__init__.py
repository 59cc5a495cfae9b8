"""Where images come from, how they are split, how batches reach the device."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretask.data.images.containers import (
        ArrayImages,
        EncodedImages,
        FileImages,
        ImageData,
        ImageStore,
        LabelledImages,
    )
    from pretask.data.load import load_data
    from pretask.data.loaders.batches import Batch, Loader
    from pretask.data.loaders.loader import create_loader
    from pretask.data.sources import SOURCES
    from pretask.data.splits.apply import apply_splits
    from pretask.data.splits.indices import hold_out, label_fraction, long_tailed, per_class

_HOMES = {
    "apply_splits": "splits.apply",
    "ArrayImages": "images.containers",
    "Batch": "loaders.batches",
    "Loader": "loaders.batches",
    "create_loader": "loaders.loader",
    "EncodedImages": "images.containers",
    "FileImages": "images.containers",
    "ImageData": "images.containers",
    "ImageStore": "images.containers",
    "LabelledImages": "images.containers",
    "load_data": "load",
    "SOURCES": "sources",
    "hold_out": "splits.indices",
    "label_fraction": "splits.indices",
    "long_tailed": "splits.indices",
    "per_class": "splits.indices",
}

__all__ = [
    "SOURCES",
    "ArrayImages",
    "Batch",
    "EncodedImages",
    "FileImages",
    "ImageData",
    "ImageStore",
    "LabelledImages",
    "Loader",
    "apply_splits",
    "create_loader",
    "hold_out",
    "label_fraction",
    "load_data",
    "long_tailed",
    "per_class",
]


def __getattr__(name: str) -> Any:
    """Import a part when it is first asked for, so that `import pretask.data` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
