"""Ctrl-C and SIGTERM without loss."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a question asked between steps; a second signal acts at once."""
    received: list[int] = []
    previous: dict[signal.Signals, Any] = {}

    def handle(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, previous[signal.Signals(number)] or signal.SIG_DFL)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, handle)
    except ValueError:  # not the main thread: signals stay with the application
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            if handler is not None:  # None: set by a program in another language, which Python cannot name
                signal.signal(number, handler)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, which clusters send some time before they kill, end the work as Ctrl-C does: files stay whole."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    with sigterm_kept():
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, interrupt)
        yield


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Put back what SIGTERM did before, whatever happened meanwhile; other threads leave signals to the first."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
