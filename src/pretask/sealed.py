"""JSON files of results, with a checksum: what is read back later is what was written, or a fault."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretask.documents import read_json_object
from pretask.errors import PretaskError
from pretask.files import write_json

CHECKSUM = "checksum"
"""The key of the checksum. A file without it is read as it is."""


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write names and values as JSON with their checksum, at once or not at all."""
    write_json(path, {**content, CHECKSUM: _checksum(content)})


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """Return what `write_sealed` wrote, without the checksum.

    Args:
        path: the file.
        remedy: what helps where it is damaged, for the error.

    Raises:
        PretaskError: no such file, not JSON, or content that its checksum does not fit.
    """
    content = read_json_object(path, remedy)
    written = content.pop(CHECKSUM, None)
    if written is not None and written != _checksum(content):
        raise PretaskError(f"cannot read {path} (its content does not fit its checksum): {remedy}")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content as it comes back from JSON."""
    as_read = json.loads(json.dumps(content, allow_nan=False))
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()
