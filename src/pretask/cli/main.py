"""The command line: all commands, and how it ends. What a command does is one call in Python."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

import cyclopts

from pretask.cli import fitting, checking, training, studies, models, machine  # isort: skip  # noqa: F401  (help lists them in this order)
from pretask.cli.app import app
from pretask.cli.flags import bind_settings
from pretask.errors import Interrupted, PretaskError, printable
from pretask.io.redaction import without_secrets
from pretask.io.signals import sigterm_as_ctrl_c


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code: 0, 2 for a fault the user can mend, 130 when stopped."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # names of files can hold what a terminal cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with sigterm_as_ctrl_c():
            bind_settings(tokens)
            app(tokens, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        _fail(" ".join(str(error).split()))
    except PretaskError as error:
        _fail(str(error))
    except Interrupted as error:
        _fail(str(error), 130)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    sys.exit(0)


def _fail(message: str, code: int = 2) -> NoReturn:
    sys.stderr.write(f"pretask: {printable(without_secrets(message))}\n")
    sys.exit(code)
