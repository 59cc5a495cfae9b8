"""Errors a user can mend: one line that says what was given, what is allowed and what to type."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

_LONGEST_NAME = 100


class PretaskError(Exception):
    """A fault in what was given, not in the program; the command line prints it and exits with code 2."""

    def __str__(self) -> str:
        """Return the message, on one line whatever names of files or classes are part of it."""
        return printable(super().__str__())


class MissingExtra(PretaskError):
    """An optional dependency is needed and absent.

    Args:
        package: that is absent.
        extra: of pretask that brings it: `pip install 'pretask[extra]'`.
        purpose: what needs it, as the start of the message.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}: type `pip install 'pretask[{extra}]'`")
        self._arguments = (package, extra, purpose)

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        return MissingExtra, self._arguments  # a worker process hands it to its parent


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional dependency.

    Args:
        module: to import.
        extra, purpose: see `MissingExtra`.

    Raises:
        MissingExtra: its package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as fault:
        package = module.partition(".")[0]
        if fault.name is None or fault.name.partition(".")[0] != package:
            raise
        raise MissingExtra(package, extra, purpose) from fault


def printable(text: str) -> str:
    """Return a text with line breaks, and what would command a terminal, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> PretaskError:
    """Return the error for a name that is not among `allowed`, with the nearest one where there is any."""
    names = sorted(allowed)
    close = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    shown = given if len(given) <= _LONGEST_NAME else f"{given[:_LONGEST_NAME]}…"
    return PretaskError(f"unknown {kind} '{shown}'{hint} (known: {', '.join(names)})")


class Interrupted(Exception):
    """The user stopped the work; what is needed to resume it is on disk."""
