"""Malformed files of every kind end in an error of one line, or are read after all: nothing else, and soon.

`PRETASK_MALFORMED=100000` tries more than the usual two thousand.
"""

from __future__ import annotations

import os
import resource
import signal
import zlib
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from malformed import kinds
from malformed_data import Kind
from mutations import cut_short
from pretask.errors import PretaskError

CASES = int(os.environ.get("PRETASK_MALFORMED", "2000"))
SHARES = {
    "settings": 0.2, "pictures": 0.25, "lists": 0.05, "npz": 0.1, "parquet": 0.13, "checkpoint": 0.08, "card": 0.07,
    "weights": 0.05, "results": 0.04, "metrics": 0.03,
}  # fmt: skip
MOST_SECONDS = 20
"""Of processor time for one file."""
MOST_MEMORY = 3 * 2**20
"""Kilobytes by which all files of a kind together may raise the most that this process has held."""

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries warn of in a damaged file is no fault


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> dict[str, Kind]:
    return kinds(tmp_path_factory.mktemp("good"))


@contextmanager
def within_limits(case: str):
    """Stop what takes too long."""

    def stop(number: int, frame: object) -> None:
        pytest.fail(f"{case} took more than {MOST_SECONDS} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def outcome(kind: Kind, folder: Path, name: str, content: bytes, case: str):
    """Return what comes of reading a file: what was found, or the fault."""
    folder.mkdir()
    path = folder / name
    path.write_bytes(content)
    with within_limits(case):
        try:
            return kind.read(path)
        except PretaskError as fault:
            assert "\n" not in str(fault), case
            assert len(str(fault)) < 5000, case
            return fault
        except Exception as error:
            raise AssertionError(f"{case} ended in {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", SHARES)
def test_good_files_are_read(known, tmp_path, name):
    kind = known[name]
    for number, (file, content) in enumerate(kind.files.items()):
        found = outcome(kind, tmp_path / str(number), file, content, file)
        assert not isinstance(found, PretaskError), found


@pytest.mark.parametrize("name", SHARES)
def test_malformed_files_are_told_or_read(known, tmp_path, name):
    kind, faults, count = known[name], 0, max(4, round(CASES * SHARES[name]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        draw = Random(zlib.crc32(f"{name} {number}".encode()))
        file = draw.choice(list(kind.files))
        spoil = draw.choice(kind.spoil)
        content = spoil(kind.files[file], draw)
        case = f"case {number} of {name} ({file}, {getattr(spoil, '__name__', spoil)})"
        found = outcome(kind, tmp_path / str(number), file, content, case)
        faults += isinstance(found, PretaskError)
        cut = spoil is cut_short and file not in kind.parts
        if not isinstance(found, PretaskError) and (kind.whole_only or cut):
            check_whole(kind, tmp_path / f"{number}-whole", file, found, case)
    assert faults >= count / 4, f"{faults} of {count} were told"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < MOST_MEMORY


def check_whole(kind: Kind, folder: Path, file: str, found: object, case: str) -> None:
    """A file that was cut short, or that carries a checksum, is read as it was or not at all."""
    good = outcome(kind, folder, file, kind.files[file], case)
    same = (found == good).all() if hasattr(found, "all") and found.shape == good.shape else found == good
    assert same, f"{case} was taken for whole"
