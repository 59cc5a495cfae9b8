"""Nothing that only POSIX has is needed to import the library: Windows has it not."""

from __future__ import annotations

import builtins
import importlib
import os
import pkgutil
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pretask
from forked import Forked

ONLY_POSIX = {
    "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty",
}  # fmt: skip
OF_OS = (
    "O_NONBLOCK", "WNOHANG", "chown", "fork", "forkpty", "getgid", "getloadavg", "getpgid", "getuid", "geteuid",
    "killpg", "mkfifo", "nice", "sched_getaffinity", "setsid", "statvfs", "sysconf", "uname", "wait", "waitid",
)  # fmt: skip
OF_SIGNAL = ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGQUIT", "SIGPIPE", "SIGCHLD", "alarm")


def import_all_without_posix() -> None:
    """Import every module of the library anew, where it finds nothing of `ONLY_POSIX`, `OF_OS` and `OF_SIGNAL`."""
    names = [found.name for found in pkgutil.walk_packages(pretask.__path__, "pretask.")]
    for name in [name for name in sys.modules if name.partition(".")[0] == "pretask"]:
        del sys.modules[name]
    for module, gone in ((os, OF_OS), (signal, OF_SIGNAL)):
        for name in gone:
            if hasattr(module, name):
                delattr(module, name)
    real = builtins.__import__

    def without(name: str, space: Any = None, *more: Any, **named: Any) -> ModuleType:
        if name in ONLY_POSIX and str((space or {}).get("__name__", "")).startswith("pretask"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, space, *more, **named)

    builtins.__import__ = without
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)


def test_the_library_is_imported_where_posix_is_not(tmp_path: Path) -> None:
    forked = Forked(tmp_path, import_all_without_posix)
    _, errors = forked.communicate(timeout=120)
    assert errors == "" and forked.returncode == 0
