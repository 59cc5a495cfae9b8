"""Packages that only pre-training needs: imported where they are used, with an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pretask.errors import MissingExtra


def load(module: str, purpose: str) -> Any:
    """Import a module of the extra `pretrain`.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as fault:
        package = module.partition(".")[0]
        if fault.name is None or fault.name.partition(".")[0] != package:
            raise
        raise MissingExtra(package, "pretrain", purpose) from fault
