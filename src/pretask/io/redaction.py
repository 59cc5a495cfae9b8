"""Keeps passwords and tokens out of what is written down and printed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

HIDDEN = "***"
_SECRET = (
    r"(?:(?:token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|credential|signature)s?"
    r"|(?<![a-z])(?:pg|my)?pass(?![a-z])|(?<=[-_])(?:pwd|auth)(?![a-z]))"
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s]+(?=@)")
_IN_PATH = re.compile(r"(?<=\w\w:)(?:/[^/\s]+|[^/:\s]+:[^/\s]+)(?=@)")
"""In an address that was taken for a path, which makes one slash of two, or lost both."""
_IN_QUERY = re.compile(rf"(?<=[?&;])([\w.-]*{_SECRET}[\w.-]*=)[^&;\s'\"]+", re.I)
_OF_HUB = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
_FLAG = re.compile(rf"--?[\w-]*{_SECRET}[\w-]*", re.I)
_VARIABLE = re.compile(_SECRET, re.I)
_SHORTEST, _SHORT = 16, 6
"""Characters of a variable's value that is looked for; a shorter one where it stands alone, unless it is a word."""


def without_secrets(text: str) -> str:
    """Return a text without passwords in addresses, tokens of the Hub, and values of secret environment variables."""
    for name, value in os.environ.items():
        if len(value) < _SHORT or not _VARIABLE.search(name):
            continue
        if len(value) >= _SHORTEST:
            text = text.replace(value, HIDDEN)
        elif not value.isalpha():
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN, text)
    return without_known_secrets(text)


def without_known_secrets(text: str) -> str:
    """Return a text without what shows by its form that it is a secret, whatever the environment holds."""
    without_users = _IN_PATH.sub(HIDDEN, _IN_ADDRESS.sub(HIDDEN, text))
    return _OF_HUB.sub(HIDDEN, _IN_QUERY.sub(rf"\1{HIDDEN}", without_users))


def arguments_without_secrets(arguments: Sequence[str]) -> list[str]:
    """Return a command's arguments, those behind a flag for a secret hidden too."""
    shown = []
    for before, argument in zip(("", *arguments), arguments, strict=False):
        flag, equals, _ = argument.partition("=")
        if _FLAG.fullmatch(before):
            shown.append(HIDDEN)
        elif equals and _FLAG.fullmatch(flag):
            shown.append(f"{flag}={HIDDEN}")
        else:
            shown.append(without_secrets(argument))
    return shown
