"""The application that commands belong to, and what they share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cyclopts import App, Parameter

from pretask.cli.flags import read_defaults, refuse_fractions
from pretask.errors import PretaskError, printable

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES = 160
_LISTS = Parameter(consume_multiple=True, negative_iterable=())


def _version() -> str:
    from importlib.metadata import version

    return version("pretask")


app = App(
    name="pretask",
    help="Train better image classifiers with self-supervision: the labels are yours, the extra signal is free.",
    version=_version,
    help_format="plaintext",  # Markdown would cost a fifth of the time that help takes
    default_parameter=_LISTS,
    config=(read_defaults, refuse_fractions),
    suppress_keyboard_interrupt=False,
)


def open_console() -> Console:
    """Return where commands print; of the processes that `torchrun` starts, the first prints for all."""
    from rich.console import Console

    quiet = os.environ.get("RANK", "0") != "0"
    console = Console(quiet=quiet)
    # A file or pipe has no width of its own, and rich's 80 columns would cut tables short.
    return console if console.is_terminal else Console(quiet=quiet, width=_WIDTH_OF_FILES)


def print_lines(lines: Sequence[str], console: Console) -> None:
    """Print lines: no markup, and what would command a terminal, or end a line, as escapes."""
    for line in lines:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def fail_if_runs_failed(study: dict[str, Any]) -> None:
    """Report a study's failed runs after its table.

    Raises:
        PretaskError: there are some.
    """
    if study["failures"]:
        raise PretaskError("some runs failed: " + "; ".join(study["failures"]))
