"""Data sets known by name, one file each.

A source is called with the folder that is the data set's own and with whether it may download, and returns
`RawData`. The first line of its docstring describes the data set.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pretask.registry import Registry

if TYPE_CHECKING:
    from pretask.data.images.containers import RawData

Source = Callable[[Path, bool], "RawData"]

SOURCES: Registry[Source] = Registry("data set", "pretask.data.sources")
"""Data sets by name: each a call with its own folder and whether it may download, which returns `RawData`."""
