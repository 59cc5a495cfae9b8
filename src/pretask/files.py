"""Writing files so that a crash leaves the old content or the new, never half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from pretask.errors import PretaskError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place.

    Raises:
        PretaskError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise PretaskError(
            f"cannot write {path} ({reason}): free space or give another --runs folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path, instead: str) -> None:
    """Make a folder and those above it, where they are missing.

    Args:
        path: of the folder.
        instead: what the user can give where this one cannot be: "another --runs folder".

    Raises:
        PretaskError: a file is in the way, or the place cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PretaskError(f"cannot make {path} ({error.strerror}): give {instead}") from None


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, at once or not at all."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text))
