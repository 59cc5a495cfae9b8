"""Writing files so that a crash leaves the old content or the new, never half of one; and which are read at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unicodedata import category

from safetensors import SafetensorError

from pretask.errors import PretaskError


def write_atomically(path: Path, write: Callable[[Path], object], keep: Path | None = None) -> None:
    """Let `write` fill a file in a temporary folder beside `path`, then put it in `path`'s place; folders are made.

    Args:
        path: what is written.
        write: fills the file that it is given.
        keep: where what was at `path` goes; None gives it up. There is no moment at which neither of the two holds a
            whole file.

    Raises:
        PretaskError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    # Drawn, since processes of several machines may have one number, as the first of each container has.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    # Of its own, since what writes the file may write through others beside it, as safetensors does.
    place = draft.with_suffix(".folder.tmp")
    temporary = place / path.name
    try:
        place.mkdir(parents=True)
        write(temporary)
        with temporary.open("rb+") as file:  # Windows flushes no file that is open to read
            os.fsync(file.fileno())
        temporary.rename(draft)
        _remove(place)  # before `path` is there: a reader that finds it whole finds no leftovers
        if keep is not None and path.exists():
            path.replace(keep)
        draft.replace(path)
    except (OSError, SafetensorError) as error:
        raise unwritable(path, error) from error
    finally:
        _remove(place)
        _remove(draft)


def check_regular(path: Path) -> os.stat_result:
    """Return a file's facts; refuse what may never end or begin when it is read, such as a pipe or a device.

    Raises:
        OSError: no such file, or no regular one.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no regular file")
    return status


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


def is_text(name: str) -> bool:
    """Whether a name of a file or folder can be written and shown everywhere.

    Halves of characters, which stand for bytes that are no UTF-8, cannot; signs that command a terminal or end a line
    are no text either.
    """
    return not any(category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in name)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, at once or not at all."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def unwritable(path: Path, error: Exception) -> PretaskError:
    """Return the error for a file or folder that cannot be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return PretaskError(f"cannot write {path} ({reason}): free space or give another --runs folder")


def remove_unfinished(folder: Path) -> None:
    """Remove what a process left in `folder` when it was killed as it wrote."""
    for path in folder.glob(".*.tmp"):
        _remove(path)


def is_unfinished(path: Path) -> bool:
    """Whether a path is called as drafts are, which `write_atomically` leaves only where it is killed."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and can be."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
