"""Images read by worker processes: independence of workers, faults, shutting down."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pretask
from pretask.data.images.containers import FileImages, ImageStore, LabelledImages
from pretask.data.images.decode import Header
from pretask.data.loaders import streaming
from pretask.data.loaders.loader import create_loader
from pretask.errors import PretaskError


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch):
    monkeypatch.setattr(streaming, "usable_cpus", lambda: 2)


@pytest.fixture
def photos(tmp_path):
    source = np.random.default_rng(0)
    paths = [f"photo{i:02}.png" for i in range(12)]
    for i, path in enumerate(paths):
        Image.fromarray(source.integers(0, 256, (40 + i, 60 - i, 3), dtype=np.uint8)).save(tmp_path / path)
    return LabelledImages(FileImages(tmp_path, paths, 3), torch.arange(12) % 3)


def stream(split, workers=2, train=True, batch_size=3, augment="resized-crop-flip", **options):
    return create_loader(
        split,
        image_size=(32, 32),
        batch_size=batch_size,
        device="cpu",
        train=train,
        augment=augment if train else "none",
        kind="streaming",
        workers=workers,
        **options,
    )


def images(loader, epoch, start=0):
    return torch.cat([batch.images for batch in loader.epoch(epoch, start)])


@pytest.mark.parametrize("augment", ["resized-crop-flip", "resized-crop-flip-randaugment", "crop-flip"])
def test_workers_change_nothing(photos, augment):
    loaders = [stream(photos, workers, augment=augment) for workers in (0, 1, 2)]
    expected = images(loaders[0], 1)
    for loader in loaders[1:]:
        assert torch.equal(images(loader, 1), expected)
        loader.close()


def test_an_image_is_augmented_alike_in_any_batch(photos):
    seen = {}
    for batch_size in (1, 4, 12):
        for batch in stream(photos, 0, batch_size=batch_size).epoch(7):
            for i, image in zip(batch.index.tolist(), batch.images, strict=True):
                assert torch.equal(seen.setdefault(i, image), image)
    assert len(seen) == 12


def test_workers_persist_and_epochs_start_anywhere(photos):
    loader = stream(photos)
    first = images(loader, 0)
    workers = [worker.pid for worker in loader._source._iterator._workers]
    assert torch.equal(images(loader, 0, start=2), first[6:])
    abandoned = loader.epoch(1)
    next(abandoned)
    assert torch.equal(images(loader, 0), first)
    assert [worker.pid for worker in loader._source._iterator._workers] == workers
    loader.close()
    assert torch.equal(images(loader, 0), first)
    loader.close()


def test_a_second_epoch_ends_the_first(photos):
    loader = stream(photos, workers=0)
    first = loader.epoch(0)
    next(first)
    next(loader.epoch(1))
    with pytest.raises(RuntimeError, match="one at a time"):
        next(first)


def test_closing_stops_the_workers_of_a_running_epoch(photos):
    loader = stream(photos)
    epoch = loader.epoch(0)
    next(epoch)
    workers = list(loader._source._iterator._workers)
    assert all(worker.is_alive() for worker in workers)
    loader.close()
    assert not any(worker.is_alive() for worker in workers)
    with pytest.raises(RuntimeError, match="closed"):
        next(epoch)


def test_no_more_workers_than_cpus_or_batches(photos, monkeypatch):
    assert stream(photos, workers=64)._workers == 2
    monkeypatch.setattr(streaming, "usable_cpus", lambda: 8)
    assert stream(photos, workers=64)._workers == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_named_in_one_line(photos, workers):
    bad = photos.images.path(5)
    bad.write_bytes(bad.read_bytes()[:40])
    loader = stream(photos, workers, train=False)
    with pytest.raises(PretaskError, match=r"photo05\.png") as caught:
        list(loader.epoch(0))
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    loader.close()


class Deadly(ImageStore):
    """Takes its process down with it."""

    channels = 1

    def __len__(self):
        return 4

    def read(self, i):
        os._exit(1)

    def describe(self, i):
        return f"image {i}"

    def header(self, i):
        return Header(32, 32, 3)

    def subset(self, indices):
        return self

    def converted(self, channels):
        return self


def test_a_dead_worker_is_told_in_one_line():
    loader = stream(LabelledImages(Deadly(), torch.zeros(4, dtype=torch.int64)), workers=1, batch_size=1)
    with pytest.raises(PretaskError, match="try fewer --workers, or 0"):
        list(loader.epoch(0))


def test_a_death_while_the_step_is_computed_is_told_in_one_line_too(photos):
    """And not raised by a signal's handler in the midst of the step."""
    handler = signal.getsignal(signal.SIGCHLD)
    loader = stream(photos, batch_size=1)
    epoch = loader.epoch(0)
    next(epoch)
    for worker in loader._source._iterator._workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    assert signal.getsignal(signal.SIGCHLD) is handler
    with pytest.raises(
        PretaskError, match=r"a process that reads images died.*try fewer --workers, or 0"
    ) as caught:
        list(epoch)
    assert "\n" not in str(caught.value)


def test_processes_that_cannot_be_started_are_told_in_one_line(photos, monkeypatch):
    def full(*given, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(multiprocessing, "Lock", full)
    loader = stream(photos)
    with pytest.raises(
        PretaskError, match=r"cannot be started \(No space left on device\): make room in /dev/shm"
    ):
        next(loader.epoch(0))


def test_without_shared_memory_batches_go_through_pipes(photos, monkeypatch):
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm)")

    expected = images(stream(photos, workers=0), 0)
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    loader = stream(photos)
    assert torch.equal(images(loader, 0), expected)
    loader.close()


IN_LITTLE_MEMORY = """
import torch
from pretask.data.images.containers import ArrayImages, LabelledImages
from pretask.data.loaders import streaming
from pretask.data.loaders.loader import create_loader
streaming.usable_cpus = lambda: 2
pixels = torch.randint(0, 256, (24, 3, 128, 128), dtype=torch.uint8)
split = LabelledImages(ArrayImages(pixels), torch.zeros(24).long())
settings = {"image_size": (128, 128), "batch_size": 8, "device": "cpu", "train": False, "kind": "streaming"}
loader = create_loader(split, **settings, workers=2)
print(loader.note)
print(torch.equal((torch.cat([batch.images for batch in loader.epoch(0)]) * 255).byte(), pixels))
loader.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is Linux's")
def test_a_small_dev_shm_is_no_reason_to_wait_for_ever():
    """As in a container: two batches of 393 kB do not fit into 500 kB."""
    small = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o size=500k none /dev/shm"
    if shutil.which("unshare") is None or subprocess.run([*small, mount], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a /dev/shm of their own")
    done = subprocess.run(
        [*small, f'{mount} && exec "$0" -W error -c "$1"', sys.executable, IN_LITTLE_MEMORY],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(pretask.__path__[0]).parent), "OMP_NUM_THREADS": "1"},
    )
    said, same = done.stdout.splitlines()
    assert (done.returncode, done.stderr, same) == (0, "", "True")
    assert "/dev/shm has 1 MB free, batches that are read ahead take 2 MB" in said


def test_nothing_is_said_where_there_is_room(photos):
    assert [stream(photos, workers).note for workers in (0, 2)] == ["", ""]


class Odd(Deadly):
    channels = None

    def read(self, i):
        return torch.zeros(1 if i == 2 else 3, 32, 32, dtype=torch.uint8)


def test_mixed_channels_name_the_image():
    loader = stream(LabelledImages(Odd(), torch.zeros(4, dtype=torch.int64)), workers=0, train=False)
    with pytest.raises(PretaskError, match="image 2 has 1 channels, the others have 3"):
        list(loader.epoch(0))


LEAVING = """
import sys, torch
from pretask.data.images.containers import ArrayImages, LabelledImages
from pretask.data.loaders.loader import create_loader
split = LabelledImages(ArrayImages(torch.zeros(64, 3, 8, 8, dtype=torch.uint8)), torch.zeros(64).long())
closed, left = (
    create_loader(split, image_size=(8, 8), batch_size=8, device="cpu", train=True, kind="streaming",
                  augment="crop-flip", workers=2)
    for _ in range(2)
)
epochs = closed.epoch(0), left.epoch(0)
print([next(epoch).images.shape[0] for epoch in epochs])
closed.close()
sys.exit(3)
"""


def test_a_process_leaves_quietly_in_mid_epoch():
    root = str(Path(pretask.__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LEAVING],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "[8, 8]\n", "")


def test_a_temporary_folder_of_too_long_a_name_is_told(photos, monkeypatch):
    monkeypatch.setattr(streaming, "get_temp_dir", lambda: "/" + "t" * 100)
    with pytest.raises(PretaskError, match="set TMPDIR to a folder of a shorter name, or --workers 0"):
        images(stream(photos), 0)
    assert len(images(stream(photos, workers=0), 0)) == 12
