"""Parquet read row group by row group: what is kept, what is shared, what is said of damaged files."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import pretask
from parquet_shards import noise, numbered, write_shards
from pretask.data import EncodedImages, load_data
from pretask.data.loaders.loader import create_loader
from pretask.data.readers import row_groups
from pretask.data.readers.row_groups import RowGroups
from pretask.errors import PretaskError

SIDE = 64


@pytest.fixture
def files(tmp_path):
    return write_shards(tmp_path / "set", [numbered(i) for i in range(48)])


@pytest.fixture
def reads(monkeypatch):
    """The row groups that are read from disk, in order."""
    found = []
    real = RowGroups._read

    def counted(self, group):
        found.append(group)
        return real(self, group)

    monkeypatch.setattr(RowGroups, "_read", counted)
    return found


def open_groups(files, monkeypatch, groups):
    """Return the images of files, with memory for so many of their row groups."""
    items = RowGroups(files, "image", files[0].parent, "the train files")
    monkeypatch.setattr(row_groups, "OPEN_BYTES", groups * items._read(0).nbytes)
    return items


def test_rows_of_all_files_are_found(files):
    items = RowGroups(files, "image", files[0].parent, "the train files")
    assert len(items) == 48
    for i in (47, 0, 16, 15, 31, 32):
        assert items[i] == numbered(i)


def test_no_more_stays_in_memory_than_was_used_last(files, monkeypatch, reads):
    items = open_groups(files, monkeypatch, 2)
    reads.clear()
    for i in (0, 1, 4, 5, 3, 8, 7, 0):  # groups 0 0 1 1 0 2 1 0
        assert items[i] == numbered(i)
    assert reads == [0, 1, 2, 1, 0]
    assert list(items._at_hand) == [1, 0]


def test_a_group_larger_than_all_memory_is_still_read(files, monkeypatch):
    items = open_groups(files, monkeypatch, 0)
    assert [items[i] for i in (0, 5, 9)] == [numbered(i) for i in (0, 5, 9)]
    assert len(items._at_hand) == 1


def test_blocks_are_row_groups_and_half_of_memory_is_open_at_once(files, monkeypatch):
    items = open_groups(files, monkeypatch, 9)
    blocks = items.blocks()
    assert blocks.of.tolist() == [i // 4 for i in range(48)]
    assert blocks.at_once == 4
    monkeypatch.setattr(row_groups, "OPEN_BYTES", 1)
    assert items.blocks().at_once == 1


def test_another_process_gets_no_bytes(files):
    items = RowGroups(files, "image", files[0].parent, "the train files")
    assert items[5] == numbered(5)
    sent = pickle.loads(pickle.dumps(items))
    assert len(sent._at_hand) == 0
    assert sent[47] == numbered(47)


def test_each_rank_reads_its_own_row_groups_once_in_an_epoch(files, monkeypatch, reads):
    open_groups(files, monkeypatch, 9)
    data = load_data(files[0].parent, memory_limit=0)
    assert isinstance(data.train.images, EncodedImages)
    of_ranks = []
    for rank in range(2):
        loader = create_loader(
            data.train,
            image_size=(SIDE, SIDE),
            batch_size=4,
            device="cpu",
            train=True,
            kind="streaming",
            workers=0,
            rank=rank,
            world_size=2,
        )
        data.train.images.items._forget()
        reads.clear()
        list(loader.epoch(3))
        of_ranks.append(Counter(reads))
    assert set(of_ranks[0]) | set(of_ranks[1]) == set(range(12))
    assert all(count == 1 for reads_of in of_ranks for count in reads_of.values())
    assert len(of_ranks[0]) == len(of_ranks[1]) == 6


def test_a_file_damaged_after_its_footer_was_read_is_named(files):
    items = RowGroups(files, "image", files[0].parent, "the train files")
    files[1].write_bytes(files[1].read_bytes()[:40])
    assert items[0] == numbered(0)
    with pytest.raises(
        PretaskError, match=r"cannot read .*train-00001-of-00003\.parquet .*fetch it again"
    ) as caught:
        items[20]
    assert "\n" not in str(caught.value)


MEMORY = """
import re, sys
from pathlib import Path
import pyarrow
from pretask.data import load_data
from pretask.data.loaders.loader import create_loader
from pretask.data.readers import row_groups

row_groups.OPEN_BYTES = 8 * 2**20

def resident():
    return 1024 * int(re.search(r"VmRSS:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

data = load_data(sys.argv[1], memory_limit=0, image_size=(32, 32))
loader = create_loader(data.train, image_size=(32, 32), batch_size=20, device="cpu", train=True, kind="streaming",
                       augment="resized-crop-flip", workers=0)
taken = [(len(batch.labels), resident()) for batch in loader.epoch(0)]
grown = max(memory for _, memory in taken) - taken[0][1]
print(sum(count for count, _ in taken), pyarrow.default_memory_pool().max_memory(), grown)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to measure memory")
def test_memory_is_bounded_by_what_stays_open_and_not_by_the_set(tmp_path):
    """A set of 59 MB is looked through and trained on with 8 MB of row groups at hand."""
    count = 300
    shards = write_shards(tmp_path, [noise(i, 256) for i in range(count)], row_group_size=10)
    size = sum(file.stat().st_size for file in shards)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": str(Path(pretask.__path__[0]).parent), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    seen, of_tables, grown = map(int, done.stdout.split())
    assert seen == count
    assert of_tables < 24 * 2**20 < size / 2, "at hand, one that is being read, and what it is made from"
    assert grown < 24 * 2**20
