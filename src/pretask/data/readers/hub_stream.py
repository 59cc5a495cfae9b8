"""Data sets of the Hugging Face Hub that are read where they are: parquet, by ranges, at one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pretask.data.images.containers import RawData, split_of
from pretask.data.readers.hub_files import PREFIX, HubAddress, HubFile, parse_address
from pretask.data.readers.hub_requests import commit_of, list_files, persist
from pretask.data.readers.table import has_wildcard, named_tables, read_tables, tables_of
from pretask.errors import PretaskError

_AS_PATH = "hf:/"
"""What a path makes of `PREFIX`."""


def read_hub_stream(text: str) -> RawData:
    """Read "hf://datasets/OWNER/NAME[@REVISION][/PATH]": labels at once, images when they are asked for.

    The revision is looked up once; all is read at the commit that it is then.

    Raises:
        PretaskError: there is no such place, no access, no network, or what lies there is no such data set.
    """
    place = parse_address(text)
    commit, sizes = persist(lambda: list_files(place.repo, place.revision), str(place))
    tables = _tables(place, [path for path in sizes if path.lower().endswith(".parquet")])
    files = {
        split: [HubFile(HubAddress(place.repo, commit, path), sizes[path]) for path in paths]
        for split, paths in tables.items()
    }
    raw = read_tables(files, place.repo, None)
    return replace(raw, notes=(*raw.notes, f"read from {place.at(commit)}"))


def fixed_source(source: str) -> str:
    """Return what names a data set, with the commit that it is at now where it is read from the Hub.

    Raises:
        PretaskError: the commit cannot be asked for.
    """
    if not source.startswith(PREFIX):
        return source
    place = parse_address(source)
    if place.fixed:
        return str(place)
    return str(place.at(persist(lambda: commit_of(place.repo, place.revision), str(place))))


def _tables(place: HubAddress, paths: Sequence[str]) -> dict[str, list[str]]:
    """Return which of a data set's parquet files are meant, by split."""
    try:
        return _by_split(place, paths)
    except PretaskError as fault:
        raise PretaskError(str(fault).replace(f"{_AS_PATH}datasets/", f"{PREFIX}datasets/")) from fault


def _by_split(place: HubAddress, paths: Sequence[str]) -> dict[str, list[str]]:
    top = PurePosixPath(str(replace(place, path="")))
    where = top / place.path
    files = {top / path: path for path in sorted(paths)}
    if where in files:
        return {"train": [files[where]]}
    if has_wildcard(PurePosixPath(place.path)):
        matching = [file for file in files if _matches(files[file], place.path)]
        found = named_tables(matching, where)
    else:
        direct = [file for file in files if file.parent == where]
        below = [file for file in files if file.parent.parent == where]
        _check_one_folder([] if direct else below, where)
        found = tables_of(direct or below, where)
    if not found:
        raise PretaskError(
            f"no .parquet file lies in {where}, nor in its folders: give a folder that has some"
        )
    return {split: [files[file] for file in chosen] for split, chosen in found.items()}


def _check_one_folder(files: Sequence[PurePosixPath], where: PurePosixPath) -> None:
    """Refuse to mix the folders of a set's configurations; folders may be called by splits."""
    folders = sorted({file.parent.name for file in files if split_of(file.parent.name) is None})
    if len(folders) > 1:
        raise PretaskError(f"{where} has several folders of files ({', '.join(folders)}): give one of them")


def _matches(path: str, pattern: str) -> bool:
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
