"""Progress bars for long work: drawn in a terminal, absent elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
_bars = ContextVar("_bars", default=True)


def progress(steps: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield from `steps`, `total` of them; on a terminal draw a bar called `what` to the error stream."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal or not _bars.get():
        yield from steps
        return
    yield from track(steps, description=what, total=total, console=console, transient=True)


@contextmanager
def without_bars() -> Iterator[None]:
    """Draw no bars meanwhile: several runs share the terminal, or something else is drawn there."""
    before = _bars.set(False)
    try:
        yield
    finally:
        _bars.reset(before)
