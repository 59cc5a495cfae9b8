"""The command line: all commands, and how it ends. What a command does is one call in Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import cyclopts

from pretask import commands  # registers all commands with the application
from pretask.app import app
from pretask.errors import Interrupted, PretaskError

__all__ = ["app", "commands", "main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code: 0, 2 for a fault the user can mend, 130 when stopped."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
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
    # Names of files are part of messages and can hold line breaks and commands to a terminal.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    sys.stderr.write(f"pretask: {shown}\n")
    sys.exit(code)
