"""The same work on every image of a store, in threads: decoding releases Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pretask.data.progress import progress

T = TypeVar("T")
_CHUNK = 64
_AHEAD = 4  # chunks per thread that may wait to be consumed


def processors() -> int:
    """Return how many processors this process may use: by affinity, and by the limit of its container."""
    from joblib import cpu_count  # a quarter of a second, which `pretask --help` must not wait for

    return int(cpu_count())


def map_indices(work: Callable[[int], T], indices: Sequence[int], what: str) -> Iterator[T]:
    """Yield `work(i)` for each of `indices`, in order, with a progress bar called `what` in a terminal."""
    chunks = [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
    for results in progress(_map_chunks(work, chunks), len(chunks), what):
        yield from results


def _map_chunks(work: Callable[[int], T], chunks: Sequence[Sequence[int]]) -> Iterator[list[T]]:
    threads = min(16, processors())
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
