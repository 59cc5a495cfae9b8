"""Errors a user can mend: one line that says what was given, what is allowed and what to type."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PretaskError(Exception):
    """A fault in what was given, not in the program; the command line prints it and exits with code 2."""


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


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> PretaskError:
    """Return the error for a name that is not among `allowed`, with the nearest one where there is any."""
    names = sorted(allowed)
    close = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return PretaskError(f"unknown {kind} '{given}'{hint} (known: {', '.join(names)})")


class Interrupted(Exception):
    """The user stopped the work; what is needed to go on is on disk."""
