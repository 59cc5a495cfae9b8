"""A column of parquet files, read a row group at a time when its cells are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pretask.data.blocks import Blocks
from pretask.data.readers.columns import item_bytes
from pretask.documents import one_line
from pretask.errors import PretaskError

OPEN_BYTES = 256 * 2**20
"""Bytes of row groups that each process which reads keeps at hand; one row group at least."""

FAULTS = (OSError, ValueError, pa.ArrowException)
"""What reading a damaged file raises; ValueError where names are no UTF-8."""


class RowGroups:
    """Encoded images by row, over all files of a split; see `ByteItems`.

    Row groups that were used last stay in memory, up to `OPEN_BYTES`. Threads may share it, and every process that it
    is sent to, or that is forked, reads for itself.

    Args:
        files: in order.
        column: with the images.
        folder: what the paths in cells are relative to.
        origin: what the rows are called in errors, "train.parquet".

    Raises:
        PretaskError: a file is damaged.
    """

    def __init__(self, files: Sequence[Path], column: str, folder: Path, origin: str) -> None:
        self.files, self.column, self.folder, self.origin = tuple(files), column, folder, origin
        self.footers = [_footer(file) for file in files]
        self.places = [(f, g) for f, footer in enumerate(self.footers) for g in range(footer.num_row_groups)]
        sizes: list[int] = [self.footers[f].row_group(g).num_rows for f, g in self.places]
        self.starts = [0, *accumulate(sizes)]
        self._forget()

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, i: int) -> bytes:
        group = bisect_right(self.starts, i) - 1
        cell = self._open(group)[i - self.starts[group]].as_py()
        return item_bytes(cell, (self.folder,), f"row {i} of {self.origin}")

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
            with pq.ParquetFile(file, metadata=self.footers[number]) as source:
                return source.read_row_group(place, columns=[self.column], use_threads=False)[self.column]
        except FAULTS as fault:
            raise damaged(file, fault) from fault


def damaged(file: Path, fault: Exception) -> PretaskError:
    """Return the error for a file that is not what its name says."""
    reason = one_line(fault).rstrip(". ")
    return PretaskError(f"cannot read {file} ({reason}): it is damaged or no parquet file; fetch it again")


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except FAULTS as fault:
        raise damaged(file, fault) from fault


def _bytes_of(group: pq.RowGroupMetaData, column: str) -> int:
    """Return the bytes of a column in a row group, of all its parts where it is a struct."""
    parts = [group.column(i) for i in range(group.num_columns)]
    return sum(p.total_uncompressed_size for p in parts if p.path_in_schema.split(".", 1)[0] == column)
