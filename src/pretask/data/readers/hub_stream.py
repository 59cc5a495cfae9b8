"""Data sets of the Hugging Face Hub that are read where they are: parquet, by ranges, at one commit."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from huggingface_hub import HfApi, HfFileSystem, HfFileSystemFile, constants, hf_hub_url, utils
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RevisionNotFoundError

from pretask.data.images.containers import RawData, split_of
from pretask.data.readers.table import has_wildcard, named_tables, read_tables, tables_of
from pretask.errors import PretaskError
from pretask.io.documents import one_line

PREFIX = "hf://"
FORM = "hf://datasets/OWNER/NAME[@REVISION][/FOLDER or FILES]"
PAUSES = (1.0, 2.0, 4.0, 8.0, 8.0)
"""Seconds to wait before a question about a repository is asked again; for ranges the library does so itself."""

# Revisions such as refs/convert/parquet hold slashes.
_ADDRESS = re.compile(
    r"hf://datasets/([^/@]+/[^/@]+)(?:@(refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(.*))?", re.DOTALL
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PASSING = frozenset((None, 408, 425, 429, 500, 502, 503, 504))
"""Answers after which a question is asked again; None is no answer at all."""
_LATER = "try again later: the same command resumes a run where it stopped"
_LOGIN = "type `hf auth login` or set HF_TOKEN"
T = TypeVar("T")

if hasattr(os, "register_at_fork"):
    # Processes that share a connection get each other's answers. Versions without this function keep them apart.
    os.register_at_fork(after_in_child=getattr(utils, "close_session", lambda: None))


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


@dataclass(frozen=True, eq=False)
class HubFile:
    """A file at a commit. Nothing of it is open between two reads, so it may be sent to other processes.

    Attributes:
        place: of the file; its revision is a commit.
        size: in bytes.
        hub: that it lies on; holds no token.
    """

    place: HubAddress
    size: int
    hub: HfFileSystem

    @property
    def name(self) -> str:
        return PurePosixPath(self.place.path).name

    def __str__(self) -> str:
        return str(replace(self.place, revision=(self.place.revision or "")[:12]))

    def open(self) -> HubRanges:
        """Return the file for pyarrow."""
        return HubRanges(self)

    def damaged(self, reason: str) -> PretaskError:
        """Return the error for a file that is not as it was listed, or no parquet."""
        return PretaskError(
            f"cannot read {self} ({reason}): it was changed, or is damaged on the Hub; give another revision or other "
            "files"
        )


class HubRanges(HfFileSystemFile):
    """A file of the Hub, each read of which is one question for a range; raises `PretaskError`."""

    def __init__(self, file: HubFile) -> None:
        self.file = file
        with _one_line_faults(file):
            super().__init__(
                file.hub, str(file.place).removeprefix(PREFIX), mode="rb", size=file.size, cache_type="none"
            )

    def url(self) -> str:
        """Return the address of the file, without the library's question whether it is a folder."""
        place = self.file.place
        return hf_hub_url(place.repo, place.path, repo_type="dataset", revision=place.revision)

    def _fetch_range(self, start: int, end: int) -> bytes:
        with _one_line_faults(self.file):
            content: bytes = super()._fetch_range(start, end)
        if len(content) > end - start:
            raise PretaskError(
                f"cannot read {self.file} (its server sends whole files only): fetch the files and give the folder"
            )
        if len(content) < end - start:
            raise self.file.damaged(f"it ends at byte {start + len(content):,} of {self.size:,} listed")
        return content


def read_hub_stream(text: str) -> RawData:
    """Read "hf://datasets/OWNER/NAME[@REVISION][/PATH]": labels at once, images when they are asked for.

    The revision is looked up once; all is read at the commit that it is then.

    Raises:
        PretaskError: there is no such place, no access, no network, or what lies there is no such data set.
    """
    place = parse_address(text)
    found = _repository(place, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in found.siblings or ()}
    tables = _tables(place, [path for path in sizes if path.lower().endswith(".parquet")])
    top = HubAddress(place.repo, str(found.sha))
    hub = HfFileSystem(skip_instance_cache=True)
    _ask(lambda: hub.resolve_path(str(top)), top)  # which it remembers, before many threads ask
    files = {
        split: [HubFile(replace(top, path=path), sizes[path], hub) for path in paths]
        for split, paths in tables.items()
    }
    raw = read_tables(files, place.repo, None)
    return replace(raw, notes=(*raw.notes, f"read from {replace(place, revision=found.sha)}"))


def at_commit(source: str) -> str:
    """Return the address of the same place at the commit that its revision is now.

    Raises:
        PretaskError: the commit cannot be asked for.
    """
    place = parse_address(source)
    if _COMMIT.fullmatch(place.revision or ""):
        return str(place)
    return str(replace(place, revision=str(_repository(place).sha)))


def _repository(place: HubAddress, **options: Any) -> Any:
    """Return what the Hub says of a data set at a revision; see `HfApi.dataset_info`."""
    api, limit = HfApi(library_name="pretask"), constants.HF_HUB_ETAG_TIMEOUT
    return _ask(
        lambda: api.dataset_info(place.repo, revision=place.revision, timeout=limit, **options), place
    )


def _ask(question: Callable[[], T], what: object) -> T:
    """Return the answer, asked for again where the network or the Hub is at fault."""
    with _one_line_faults(what):
        for pause in PAUSES:
            try:
                return question()
            except (OfflineModeIsEnabled, ValueError):
                raise
            except Exception as fault:  # of the transport too, whose types change between versions
                if _status(fault) not in _PASSING:
                    raise
            time.sleep(pause)
        return question()


@contextmanager
def _one_line_faults(what: object) -> Iterator[None]:
    """Say in one line why `what` cannot be read."""
    try:
        yield
    except PretaskError:
        raise
    except Exception as fault:
        reason, remedy = _reason_and_remedy(fault)
        raise PretaskError(f"cannot read {what} ({reason}): {remedy}") from fault


def _status(fault: BaseException) -> int | None:
    status = getattr(getattr(fault, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _reason_and_remedy(fault: Exception) -> tuple[str, str]:
    cause = fault.__cause__ if isinstance(fault, FileNotFoundError) and fault.__cause__ else fault
    status = _status(cause)
    if isinstance(cause, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", "unset it, or give downloaded files"
    if isinstance(cause, GatedRepoError) or status == 403:
        return "no access", f"ask for access on its page on the Hub, and {_LOGIN}"
    if isinstance(cause, RevisionNotFoundError):
        return "no such revision", "check what follows @"
    if status in (401, 404):
        return f"{status}: there is none, or it is private", f"check the name; for a private one {_LOGIN}"
    if status == 416:
        return "it is shorter than was listed", "give another revision or other files"
    if status is not None:
        return f"the Hub answered {status}", _LATER
    text = one_line(fault).rstrip(". ")
    # Some versions give the address, which may be signed, at length.
    reason = text if len(text) <= 80 and "?" not in text else type(fault).__name__
    return reason, f"check the network, or {_LATER}"


def _tables(place: HubAddress, paths: Sequence[str]) -> dict[str, list[str]]:
    """Return which of a data set's parquet files are meant, by split."""
    top = PurePosixPath(str(replace(place, path="")).removeprefix(PREFIX))
    where, files = top / place.path, [top / path for path in sorted(paths)]
    try:
        if where in files:
            found = {"train": [where]}
        elif has_wildcard(PurePosixPath(place.path)):
            found = named_tables([file for file in files if _matches(file, where)], where)
        else:
            found = tables_of(_directly_in(where, files), where)
    except PretaskError as fault:
        raise PretaskError(str(fault).replace(str(top), f"{PREFIX}{top}")) from fault
    if not found:
        raise PretaskError(
            f"no .parquet file lies in {place}, nor in its folders: give a folder that has some"
        )
    return {split: [str(file.relative_to(top)) for file in chosen] for split, chosen in found.items()}


def _matches(file: PurePosixPath, pattern: PurePosixPath) -> bool:
    return len(file.parts) == len(pattern.parts) and all(map(fnmatchcase, file.parts, pattern.parts))


def _directly_in(where: PurePosixPath, files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Return the files in a folder, or else in its folders, which may be called by splits but not by configurations."""
    if direct := [file for file in files if file.parent == where]:
        return direct
    below = [file for file in files if file.parent.parent == where]
    folders = sorted({file.parent.name for file in below if split_of(file.parent.name) is None})
    if len(folders) > 1:
        raise PretaskError(f"{where} has several folders of files ({', '.join(folders)}): give one of them")
    return below
