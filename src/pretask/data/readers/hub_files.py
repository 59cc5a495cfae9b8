"""Parquet files that stay on the Hugging Face Hub: their addresses, and their bytes when they are asked for."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from pretask.data.readers.hub_requests import address_of, changed, read_range
from pretask.errors import PretaskError

PREFIX = "hf://"
FORM = "hf://datasets/OWNER/NAME[@REVISION][/FOLDER or FILES]"

# Revisions such as refs/convert/parquet hold slashes.
_ADDRESS = re.compile(
    r"hf://datasets/([^/@]+/[^/@]+)(?:@(refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(.*))?", re.DOTALL
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHOWN = 12
"""Characters of a commit that tell it from others."""


@dataclass(frozen=True)
class HubAddress:
    """A place in a data set on the Hub.

    Attributes:
        repo: "owner/name".
        revision: a branch, tag or commit; None for the main branch.
        path: of a folder, a file or a pattern, "" for all.
    """

    repo: str
    revision: str | None = None
    path: str = ""

    def __str__(self) -> str:
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"{PREFIX}datasets/{self.repo}{revision}" + (f"/{self.path}" if self.path else "")

    @property
    def fixed(self) -> bool:
        """Whether the revision is a commit, so that what lies there stays as it is."""
        return bool(_COMMIT.fullmatch(self.revision or ""))

    def at(self, commit: str) -> HubAddress:
        """Return the same place at a commit."""
        return replace(self, revision=commit)


def parse_address(text: str) -> HubAddress:
    """Return what "hf://datasets/OWNER/NAME[@REVISION][/PATH]" names.

    Raises:
        PretaskError: it has another form.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise PretaskError(f"{text} is no place in a data set on the Hub: give {FORM}")
    parts = [part for part in (found[3] or "").split("/") if part not in ("", ".")]
    return HubAddress(found[1], unquote(found[2]) if found[2] else None, "/".join(parts))


@dataclass(frozen=True)
class HubFile:
    """A file at a commit. Nothing of it is open between two reads, so it may be sent to other processes.

    Attributes:
        place: of the file; its revision is a commit.
        size: in bytes.
    """

    place: HubAddress
    size: int

    @property
    def name(self) -> str:
        return PurePosixPath(self.place.path).name

    def __str__(self) -> str:
        return str(replace(self.place, revision=(self.place.revision or "")[:_SHOWN]))

    def open(self, start: int = 0, stop: int = 0) -> RangeFile:
        """Return the file for pyarrow; the bytes `start` … `stop` come in one piece when one of them is read."""
        return RangeFile(self, start, stop)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `start` … `stop`; raises as `read_range` does."""
        place = self.place
        address = address_of(place.repo, place.revision or "", place.path)
        return read_range(address, start, stop, self.size, str(self))

    def damaged(self, reason: str) -> PretaskError:
        """Return the error for content that is no parquet."""
        return changed(str(self), reason)


class RangeFile(io.RawIOBase):
    """A file of the Hub as pyarrow reads it: where a read leaves the piece that was told before, it is a request.

    Args:
        file: that is read.
        start, stop: of the piece that is fetched at once.
    """

    def __init__(self, file: HubFile, start: int, stop: int) -> None:
        super().__init__()
        self.file = file
        self.start, self.stop = max(0, start), min(stop, file.size)
        self._piece: bytes | None = None
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.file.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; raises as `HubFile.read` does."""
        first = min(self._at, self.file.size)
        last = self.file.size if size < 0 else min(first + size, self.file.size)
        self._at = last
        if first == last:
            return b""
        if not self.start <= first <= last <= self.stop:
            return self.file.read(first, last)
        if self._piece is None:
            self._piece = self.file.read(self.start, self.stop)
        return self._piece[first - self.start : last - self.start]
