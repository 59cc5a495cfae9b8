"""Where images come from, how they are split, how batches reach the device."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretask.data.batches import Batch, Loader
    from pretask.data.images import (
        ArrayImages,
        EncodedImages,
        FileImages,
        ImageData,
        ImageStore,
        LabelledImages,
    )
    from pretask.data.load import load_data
    from pretask.data.loader import create_loader
    from pretask.data.sources import SOURCES
    from pretask.data.splits import hold_out, label_fraction, long_tailed, per_class
    from pretask.data.splitting import apply_splits

_HOMES = {
    "apply_splits": "splitting",
    "ArrayImages": "images",
    "Batch": "batches",
    "Loader": "batches",
    "create_loader": "loader",
    "EncodedImages": "images",
    "FileImages": "images",
    "ImageData": "images",
    "ImageStore": "images",
    "LabelledImages": "images",
    "load_data": "load",
    "SOURCES": "sources",
    "hold_out": "splits",
    "label_fraction": "splits",
    "long_tailed": "splits",
    "per_class": "splits",
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
