"""A piece of work in a process of its own, which can be timed in turn with others."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

import torch


class Steps(Protocol):
    """Something that makes one step after another."""

    def step(self) -> object:
        """Make one."""


class OwnProcess:
    """Makes steps in another process, which does nothing in between.

    What a process sets for itself, such as how memory is handed out, then holds for one piece alone.

    Args:
        make: makes the piece, in the other process; it can be pickled.
        threads: of that process.

    Raises:
        RuntimeError: the other process failed; what it says is on the error stream.
    """

    def __init__(self, make: Callable[[], Steps], threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, threads))
        self._process.start()
        theirs.close()
        self._answer()

    def step(self) -> None:
        """Make a step there and wait for it."""
        self._pipe.send(True)
        self._answer()

    def close(self) -> None:
        """End the other process."""
        self._pipe.close()
        self._process.join()

    def _answer(self) -> None:
        try:
            self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise RuntimeError(f"a timed process ended with code {self._process.exitcode}") from None


def _serve(pipe: Connection, make: Callable[[], Steps], threads: int) -> None:
    torch.set_num_threads(threads)
    piece = make()
    while True:
        pipe.send(True)
        try:
            pipe.recv()
        except EOFError:  # nobody asks any more
            return
        piece.step()
