"""Locks that end with the process that holds them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pretask.errors import PretaskError


class Held(Exception):
    """Another process holds the lock; the message says which, as far as it is known."""


@contextmanager
def held(lock: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends; the operating system keeps it, not the file.

    Args:
        lock: its file; the folder is made.
        wait: for another process that holds it.

    Raises:
        Held: another process holds it, and it is not waited for.
        PretaskError: the storage has no locks, or cannot be written.
    """
    file = FileLock(lock, on_acquired=_sign)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file.acquire(blocking=wait)
    except Timeout:
        raise Held(_owner(lock)) from None
    except OSError as fault:
        raise PretaskError(
            f"cannot lock {lock} ({fault.strerror or fault}): give a --runs folder that can be written and locked"
        ) from fault
    try:
        yield
    finally:
        file.release()


def _sign(descriptor: int) -> None:
    """Write into a lock who holds it, for people, and for what `mtime` then says: when it was taken."""
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{socket.gethostname()} {os.getpid()}\n".encode())


def _owner(lock: Path) -> str:
    """Return what `_sign` wrote, in words."""
    try:
        host, number = lock.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return "another process"
    return f"process {number} on {host}"
