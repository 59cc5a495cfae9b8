"""Work on many images at once, in threads, with a progress bar."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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


CHUNK = 64
_AHEAD = 4  # chunks per thread that may wait to be consumed


def usable_cpus() -> int:
    """Return how many CPUs this process may use: by affinity, and by the limit of its container."""
    from joblib import cpu_count  # a quarter of a second, which `pretask --help` must not wait for

    return int(cpu_count())


def map_indices(
    work: Callable[[int], T], indices: Sequence[int], what: str, chunk: int = CHUNK
) -> Iterator[T]:
    """Yield `work(i)` for each of `indices`, in order, with a progress bar called `what` in a terminal.

    A thread takes `chunk` of them at a time, and no more than four chunks per thread are done ahead.
    """
    chunks = [indices[start : start + chunk] for start in range(0, len(indices), chunk)]
    for results in progress(_map_chunks(work, chunks), len(chunks), what):
        yield from results


def _map_chunks(work: Callable[[int], T], chunks: Sequence[Sequence[int]]) -> Iterator[list[T]]:
    threads = min(16, usable_cpus())
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[T]]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(lambda part: [work(i) for i in part], chunk))
                if len(waiting) >= threads * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
