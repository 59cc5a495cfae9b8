"""A column of parquet files, read a row group at a time when its cells are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pretask.data.images.stores import Blocks
from pretask.data.parallel import progress
from pretask.data.readers.columns import item_bytes
from pretask.errors import PretaskError
from pretask.io.documents import one_line
from pretask.io.files import check_regular

T = TypeVar("T")
U = TypeVar("U")


class RemoteFile(Protocol):
    """A parquet file that stays elsewhere, such as on the Hub."""

    @property
    def name(self) -> str:
        """Of the file, without folders."""

    def open(self) -> Any:
        """Return the file for pyarrow."""

    def damaged(self, reason: str) -> PretaskError:
        """Return the error for a file that cannot be read for a reason."""


TableFile: TypeAlias = Path | RemoteFile
"""A parquet file of this machine, or one that stays elsewhere."""

OPEN_BYTES = 256 * 2**20
"""Bytes of row groups that each process which reads keeps at hand; one row group at least."""

FAULTS = (OSError, ValueError, pa.ArrowException)
"""What reading a damaged file raises; ValueError where names are no UTF-8."""

_QUESTIONS = 16
"""Files or row groups of the Hub that are asked for at the same time."""


class RowGroups:
    """Encoded images by row, over all files of a split; see `ByteItems`.

    Row groups that were used last stay in memory, up to `OPEN_BYTES`. Threads may share it, and every process that it
    is sent to, or that is forked, reads for itself.

    Args:
        files: in order.
        column: with the images, or the labels.
        folder: what the paths in cells are relative to; None where cells may name no files.
        origin: what the rows are called in errors, "train.parquet".
        footers: of the files, where they were read before.

    Raises:
        PretaskError: a file is damaged.
    """

    def __init__(
        self,
        files: Sequence[TableFile],
        column: str,
        folder: Path | None,
        origin: str,
        footers: Sequence[pq.FileMetaData] | None = None,
    ) -> None:
        self.files, self.column, self.origin = tuple(files), column, origin
        self.folders = () if folder is None else (folder,)
        self.footers = read_footers(files) if footers is None else list(footers)
        self.places = [(f, g) for f, footer in enumerate(self.footers) for g in range(footer.num_row_groups)]
        sizes: list[int] = [self.footers[f].row_group(g).num_rows for f, g in self.places]
        self.starts = [0, *accumulate(sizes)]
        self._forget()

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def remote(self) -> bool:
        """Whether images come over a network."""
        return not all(isinstance(file, Path) for file in self.files)

    def __getitem__(self, i: int) -> bytes:
        group = bisect_right(self.starts, i) - 1
        cell = self._open(group)[i - self.starts[group]].as_py()
        return item_bytes(cell, self.folders, f"row {i} of {self.origin}")

    def cells(self) -> list[pa.ChunkedArray]:
        """Return the whole column, row group by row group; nothing of it is kept."""
        return _for_each(self._read, range(len(self.places)), self.files)

    def blocks(self) -> Blocks:
        """Return which rows lie in one row group, and how many groups fit into `OPEN_BYTES`."""
        sizes = torch.tensor(self.starts).diff()
        largest = max(
            (_bytes_of(self.footers[f].row_group(g), self.column) for f, g in self.places), default=1
        )
        at_once = max(
            1, OPEN_BYTES // (2 * max(1, largest))
        )  # each and its successor, which some batches need too
        return Blocks(torch.arange(len(sizes)).repeat_interleave(sizes), at_once)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if not key.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._at_hand: OrderedDict[int, pa.ChunkedArray] = OrderedDict()
        self._bytes_at_hand = 0
        self._lock = Lock()

    def _open(self, group: int) -> pa.ChunkedArray:
        with self._lock:
            if group in self._at_hand:
                self._at_hand.move_to_end(group)
                return self._at_hand[group]
            cells = self._read(group)
            self._at_hand[group] = cells
            self._bytes_at_hand += cells.nbytes
            while self._bytes_at_hand > OPEN_BYTES and len(self._at_hand) > 1:
                _, oldest = self._at_hand.popitem(last=False)
                self._bytes_at_hand -= oldest.nbytes
            return cells

    def _read(self, group: int) -> pa.ChunkedArray:
        number, place = self.places[group]
        file = self.files[number]
        try:
            # Opened for each group: an open file would be shared with processes that are forked.
            here = isinstance(file, Path)
            source = file if here else file.open()
            # On the Hub bytes and paths, which lie side by side, come in one range.
            with pq.ParquetFile(source, metadata=self.footers[number], pre_buffer=not here) as table:
                return table.read_row_group(place, columns=[self.column], use_threads=False)[self.column]
        except FAULTS as fault:
            raise damaged(file, fault) from fault


def damaged(file: TableFile, fault: Exception) -> PretaskError:
    """Return the error for a file that is not what its name says."""
    reason = one_line(fault).rstrip(". ")
    if isinstance(file, Path):
        return PretaskError(
            f"cannot read {file} ({reason}): it is damaged or no parquet file; fetch it again"
        )
    return file.damaged(reason)


def read_footers(files: Sequence[TableFile]) -> list[pq.FileMetaData]:
    """Return what each file says of its columns and row groups.

    Raises:
        PretaskError: a file is damaged, or cannot be read.
    """
    return _for_each(_footer, files, files)


def _footer(file: TableFile) -> pq.FileMetaData:
    try:
        if isinstance(file, Path):
            check_regular(file)
            return pq.read_metadata(file)
        return pq.read_metadata(file.open())
    except FAULTS as fault:
        raise damaged(file, fault) from fault


def _bytes_of(group: pq.RowGroupMetaData, column: str) -> int:
    """Return the bytes of a column in a row group, of all its parts where it is a struct."""
    return sum(part.total_uncompressed_size for part in _parts(group, column))


def _parts(group: pq.RowGroupMetaData, column: str) -> list[pq.ColumnChunkMetaData]:
    parts = [group.column(i) for i in range(group.num_columns)]
    return [part for part in parts if part.path_in_schema.split(".", 1)[0] == column]


def _for_each(work: Callable[[T], U], items: Sequence[T], files: Sequence[TableFile]) -> list[U]:
    """Return `work` of each item, several at the same time where answers of the Hub are waited for."""
    if all(isinstance(file, Path) for file in files):
        return [work(item) for item in items]
    with ThreadPoolExecutor(_QUESTIONS) as pool:
        try:
            return list(progress(pool.map(work, items), len(items), "asking the Hub"))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
