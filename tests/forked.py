"""Programs in processes of their own that are forked from the tests': another Python would import for seconds."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import matplotlib.figure  # noqa: F401  # what a training imports late is here when it is forked
import torch
import torch._dynamo
import torch.distributed.fsdp
import torch.distributed.tensor
from accelerate.state import AcceleratorState, PartialState

from pretask import tasks  # noqa: F401
from pretask.cli.main import main
from ranks import start_method


class Forked:
    """A function at work in a process of its own, with its output in files; used as `subprocess.Popen` is.

    Args:
        folder: where the output goes; it is made.
        work: what is called with the arguments.
        new_session: whether the process leads a group of its own.
    """

    def __init__(
        self, folder: Path, work: Callable[..., object], *arguments: object, new_session: bool = False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._streams = (folder / "out.txt", folder / "err.txt")
        made_by = get_context(start_method())
        self._process = made_by.Process(target=_begin, args=(self._streams, new_session, work, arguments))
        with warnings.catch_warnings(
            action="ignore", category=DeprecationWarning
        ):  # of threads, which are idle
            self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait until the process ends, for `timeout` seconds at most; return its output and its errors."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still at work after {timeout} s"
        out, errors = (path.read_text() if path.is_file() else "" for path in self._streams)
        return out, errors


def forked_command(folder: Path, tokens: list[str], *, new_session: bool = False) -> Forked:
    """Start `pretask` with arguments."""
    return Forked(folder, main, tokens, new_session=new_session)


def _begin(
    streams: tuple[Path, Path],
    new_session: bool,
    work: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    if new_session:
        os.setsid()
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    PartialState._reset_state()  # which the parent may have
    AcceleratorState._reset_state()
    try:
        work(*arguments)
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
