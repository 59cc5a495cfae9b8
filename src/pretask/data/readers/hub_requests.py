"""Questions to the Hugging Face Hub: asked again where a fault may pass, told in one line where it stays."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from pretask.errors import PretaskError
from pretask.io.documents import one_line

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait before each new try."""
TIMEOUT = 20.0
"""Seconds without a byte after which a question counts as not answered."""
LONGEST_PAUSE = 320.0
"""Seconds to wait at most where the Hub says how long; it counts questions over five minutes."""

_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_RESET = re.compile(r"\bt=(\d+)")
_LONGEST_REASON = 80
_LATER = "try again later: a run that is typed again goes on where it stopped"

T = TypeVar("T")
_locations: dict[str, str] = {}
"""Where the Hub sent a question for a file to: an address that is signed, holds for a while and is told nowhere."""
_inherited = False
"""Whether connections are those of the process that this one was forked from."""


class Incomplete(Exception):
    """An answer holds fewer bytes than it says."""


def persist(ask: Callable[[], T], what: str) -> T:
    """Return what `ask` does, tried again after growing pauses where the network or the Hub is at fault.

    Args:
        ask: one question to the Hub.
        what: is asked for, as errors call it.

    Raises:
        PretaskError: the fault stays.
    """
    for pause in (*PAUSES, None):
        try:
            _drop_inherited()
            return ask()
        except PretaskError:
            raise
        except Exception as fault:  # of the transport too, whose types change between versions
            if pause is None or not _may_pass(fault):
                cause, remedy = _cause_and_remedy(fault)
                raise PretaskError(f"cannot read {what} ({cause}): {remedy}") from fault
            time.sleep(max(pause, min(_asked_pause(fault), LONGEST_PAUSE)))
    raise AssertionError("the last try returns or raises")


def _drop_inherited() -> None:
    """Make connections anew after a fork: on a shared one, processes would get each other's answers."""
    global _inherited
    if _inherited:
        _inherited = False
        # Versions that have no such function keep connections by process.
        getattr(import_module("huggingface_hub.utils"), "close_session", lambda: None)()


def _note_fork() -> None:
    global _inherited
    _inherited = "huggingface_hub" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def list_files(repo: str, revision: str | None) -> tuple[str, dict[str, int]]:
    """Return the commit that a revision is now, and the size of each of its files.

    Args:
        repo: "owner/name" of a data set.
        revision: a branch, tag or commit; None for the main branch.
    """
    from huggingface_hub import HfApi

    found = HfApi(library_name="pretask").dataset_info(
        repo, revision=revision, timeout=TIMEOUT, files_metadata=True
    )
    return str(found.sha), {file.rfilename: file.size or 0 for file in found.siblings or ()}


def commit_of(repo: str, revision: str | None) -> str:
    """Return the commit that a revision is now; see `list_files`."""
    from huggingface_hub import HfApi

    return str(HfApi(library_name="pretask").dataset_info(repo, revision=revision, timeout=TIMEOUT).sha)


def address_of(repo: str, commit: str, path: str) -> str:
    """Return where the Hub is asked for a file of a data set."""
    from huggingface_hub import HfApi

    return f"{HfApi().endpoint}/datasets/{repo}/resolve/{commit}/{quote(path)}"


def read_range(address: str, start: int, stop: int, size: int, what: str) -> bytes:
    """Return the bytes `start` … `stop` of a file.

    Args:
        address: of the file on the Hub.
        start, stop: of the bytes.
        size: of the whole file, as it was listed.
        what: the file is called in errors.

    Raises:
        PretaskError: the file has another size, the answer is no range, or see `persist`.
    """
    return persist(lambda: _ask_range(address, start, stop, size, what), what)


def _ask_range(address: str, start: int, stop: int, size: int, what: str) -> bytes:
    hub: Any = import_module("huggingface_hub.utils")  # which does not declare these names as its own
    asked = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    known = _locations.pop(address, None)  # asked there at first: the Hub counts what it answers itself
    if known is not None:
        answer = hub.get_session().get(known, headers=asked, timeout=TIMEOUT)
        if answer.status_code == 206:
            _locations[address] = known
            return _content(answer, start, stop, size, what)
    headers = {**hub.build_hf_headers(library_name="pretask"), **asked}
    answer = hub.get_session().get(address, headers=headers, timeout=TIMEOUT)
    hub.hf_raise_for_status(answer)
    if urlsplit(str(answer.url)).netloc != urlsplit(address).netloc:
        _locations[address] = str(answer.url)
    return _content(answer, start, stop, size, what)


def _content(answer: Any, start: int, stop: int, size: int, what: str) -> bytes:
    if answer.status_code != 206:
        raise PretaskError(
            f"cannot read {what} (its server sends whole files only): fetch the files and give the folder"
        )
    told = str(answer.headers.get("content-range", "")).rpartition("/")[2]
    if told.isdecimal() and int(told) != size:
        raise changed(what, f"it has {int(told):,} bytes where {size:,} were listed")
    content: bytes = answer.content
    if len(content) != stop - start:
        raise Incomplete(f"{len(content):,} of {stop - start:,} bytes came")
    return content


def changed(what: str, reason: str) -> PretaskError:
    """Return the error for a file that is not as it was listed, or no good parquet file."""
    return PretaskError(
        f"cannot read {what} ({reason}): it was changed, or is damaged on the Hub; give another revision or other files"
    )


def _may_pass(fault: Exception) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = _status(fault)
    if status is not None:
        return status in _PASSING
    return not isinstance(fault, OfflineModeIsEnabled | ValueError | TypeError | LookupError | AttributeError)


def _status(fault: Exception) -> int | None:
    status = getattr(getattr(fault, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _asked_pause(fault: Exception) -> float:
    """Return the seconds that an answer asks to wait, 0 where it does not."""
    headers = getattr(getattr(fault, "response", None), "headers", None) or {}
    after, reset = str(headers.get("retry-after", "")), _RESET.search(str(headers.get("ratelimit", "")))
    if after.isdecimal():
        return float(after)
    return float(reset[1]) if reset and _status(fault) == 429 else 0.0


def _cause_and_remedy(fault: Exception) -> tuple[str, str]:
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RevisionNotFoundError

    status = _status(fault)
    if isinstance(fault, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", "unset it, or give downloaded files"
    if isinstance(fault, GatedRepoError) or status == 403:
        return "no access", "ask for access on its page on the Hub, and type `hf auth login` or set HF_TOKEN"
    if isinstance(fault, RevisionNotFoundError):
        return "no such revision", "check what follows @"
    if status in (401, 404):
        return (
            f"{status}: there is none, or it is private",
            "check the name; for a private one type `hf auth login` or set HF_TOKEN",
        )
    if status == 416:
        return "it is shorter than was listed", "give another revision or other files"
    if status is not None:
        return f"the Hub answered {status}", _LATER
    text = one_line(fault).rstrip(". ")
    # Some versions tell the address, which may be signed, at length.
    reason = text if len(text) <= _LONGEST_REASON and "?" not in text else type(fault).__name__
    return reason, f"check the network, or {_LATER}"
