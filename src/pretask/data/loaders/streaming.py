"""Images read and augmented by worker processes, ahead of the step."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info
from torch.utils.data._utils import signal_handling

from pretask.data.images.containers import ImageStore, LabelledImages
from pretask.data.images.decode import mixed_channels
from pretask.data.loaders.augmentation import (
    CROP_RATIO,
    CROP_SCALE,
    Augmentation,
    make_randaugment,
    padding,
    seeded,
)
from pretask.data.loaders.batches import FILLER, Batch, send, to_pixels
from pretask.data.loaders.schedule import Schedule, derived_seed
from pretask.data.parallel import usable_cpus
from pretask.errors import PretaskError

if TYPE_CHECKING:
    from torchvision.transforms import v2


def copied_ahead(tensors: Iterator[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield CPU tensors on the device; on a GPU each is copied, on a stream of its own, while the last is in use.

    Args:
        tensors: pinned, for copies that the host does not wait for.
        device: where they are wanted.
    """
    if device.type != "cuda":
        yield from (tensor.to(device) for tensor in tensors)
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ahead: tuple[Tensor, torch.cuda.Event] | None = None
    for tensor in tensors:
        with torch.cuda.stream(stream):
            coming = tensor.to(device, non_blocking=True), stream.record_event()
        if ahead is not None:
            yield _handed_over(*ahead)
        ahead = coming
    if ahead is not None:
        yield _handed_over(*ahead)


def _handed_over(tensor: Tensor, copied: torch.cuda.Event) -> Tensor:
    """Let the current stream wait for the copy, and keep the memory until that stream is done with it."""
    current = torch.cuda.current_stream(tensor.device)
    current.wait_event(copied)
    tensor.record_stream(current)
    return tensor


_SHARED = Path("/dev/shm")
"""Where Linux keeps the memory that processes share; a container has 64 MB of it unless told otherwise."""
_LONGEST_FOLDER = 103 - len("/listener-12345678")
"""Bytes of a folder's name that leave room for a socket's in it: 103 on macOS, 107 on Linux."""


class StreamingLoader:
    """Batches of a split that is decoded and augmented image by image.

    Each image's randomness comes from (seed, epoch, image index) alone: the same crop whatever the number of
    workers or ranks, and wherever in an epoch the work began. Worker processes persist between epochs.

    Args:
        split: the images and labels.
        image_size: (height, width) of a batch.
        schedule: which images come when.
        augmentation: the augmentation, by torchvision's transforms; a resized crop sees the original image.
        workers: processes that read images; 0 reads in this process. At most one per CPU is started.
        channels_last: memory format of the batches.
    """

    kind = "streaming"
    nbytes = 0

    def __init__(
        self,
        split: LabelledImages,
        *,
        image_size: tuple[int, int],
        schedule: Schedule,
        augmentation: Augmentation,
        device: torch.device,
        workers: int = 4,
        channels_last: bool = False,
    ) -> None:
        self.schedule = schedule
        self.device = device
        self.channels_last = channels_last
        self.batch_size = schedule.batch_size
        self.num_images = len(split)
        self._labels = split.labels
        self._reader = _Reader(split.images, image_size, augmentation, schedule.seed)
        self._workers = min(workers, usable_cpus(), schedule.steps)
        self._sampler = _EpochSampler()
        self._source: DataLoader[Any] | None = None
        self._batches: Iterator[Tensor | NDArray[np.uint8] | _Fault] = iter(())
        self._epochs_begun = 0
        ahead = (
            (2 * self._workers + 2) * self.batch_size * (self._workers > 0)
        )  # images: two batches for each worker
        self.note = _shared_memory_note(ahead * (split.images.channels or 3) * image_size[0] * image_size[1])

    def __len__(self) -> int:
        return self.schedule.steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches `start`… of an epoch.

        Raises:
            PretaskError: an image cannot be read, a worker process died, or none can send images from a temporary
                folder of so long a name.
            RuntimeError: another epoch was begun meanwhile, or the loader closed.
        """
        index, fillers = self.schedule.index(epoch)
        labels = self._labels[index].masked_fill_(fillers, FILLER)
        self._begin(epoch, index[start:])
        for step, images in enumerate(copied_ahead(self._images(len(self) - start), self.device), start):
            yield Batch(
                to_pixels(images, self.channels_last),
                send(labels[step], self.device),
                send(index[step], self.device),
            )

    def close(self) -> None:
        """Stop the worker processes; the next epoch starts new ones."""
        self._epochs_begun += 1
        self._batches = iter(())
        self._source = None  # the last reference: torch stops the workers

    def _begin(self, epoch: int, index: Tensor) -> None:
        self._epochs_begun += 1
        self._sampler.ask(epoch, index)
        if self._source is None:
            self._source = self._start()
        with warnings.catch_warnings(), _deaths_found_by_waiting():
            # Workers use neither the parent's threads nor its locks, which is what forking can break.
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
            try:
                self._batches = iter(self._source)
            except OSError as fault:
                raise _not_started(fault) from fault

    def _images(self, count: int) -> Iterator[Tensor]:
        """Yield the images of the epoch that was begun last, uint8 [B, C, H, W] on the CPU."""
        mine = self._epochs_begun
        for _ in range(count):
            if mine != self._epochs_begun:  # its images are gone
                raise RuntimeError("this loader began another epoch or was closed: it runs one at a time")
            yield self._next()

    def _next(self) -> Tensor:
        try:
            batch = next(self._batches)
        except RuntimeError as fault:
            if "DataLoader worker" not in str(fault):
                raise
            self.close()
            raise PretaskError(
                "a process that reads images died, most often for want of memory: try fewer --workers, or 0"
            ) from fault
        if isinstance(batch, _Fault):
            raise PretaskError(batch.message)
        return batch if isinstance(batch, Tensor) else torch.from_numpy(batch)

    def _start(self) -> DataLoader[Any]:
        if self._workers:
            _check_sockets()
            _check_locks()
        return DataLoader(
            self._reader,
            batch_sampler=self._sampler,
            collate_fn=_as_it_is,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context=_context() if self._workers else None,
            generator=torch.Generator(),  # else the loader draws from the global one
        )


@dataclass(frozen=True)
class _Fault:
    """What a worker sends in place of a batch that it could not read."""

    message: str


class _Reader(Dataset[Tensor]):
    """Reads, augments and stacks one batch; lives in the worker processes."""

    def __init__(
        self, images: ImageStore, size: tuple[int, int], augmentation: Augmentation, seed: int
    ) -> None:
        self.images = images
        self.size = size
        self.seed = seed
        self.random = bool(augmentation.crop or augmentation.flip or augmentation.randaugment)
        self.fits_first = augmentation.crop != "resized"
        self.transform = _transform(augmentation, size)

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, asked: Sequence[tuple[int, int]]) -> Tensor | NDArray[np.uint8] | _Fault:
        """Return uint8 [B, C, H, W] for a list of (epoch, image index)."""
        try:
            batch = self._stack([self._read(epoch, i) for epoch, i in asked], asked)
        except PretaskError as fault:
            return _Fault(str(fault))
        return batch if get_worker_info() is None else _to_send(batch)

    def _read(self, epoch: int, i: int) -> Tensor:
        image = self._image(i)
        if not self.random:
            return image
        with seeded(derived_seed("image", self.seed, epoch, i)):
            changed: Tensor = self.transform(image)
        return changed

    def _image(self, i: int) -> Tensor:
        if self.fits_first:
            return self.images.fitted(i, self.size)
        return self.images.read(i)

    def _stack(self, images: list[Tensor], asked: Sequence[tuple[int, int]]) -> Tensor:
        channels = self.images.channels or self.images.header(0).channels
        for image, (_, i) in zip(images, asked, strict=True):
            if image.shape[0] != channels:
                raise mixed_channels(self.images.describe(i), image.shape[0], channels)
        return torch.stack(images)


def _to_send(batch: Tensor) -> Tensor | NDArray[np.uint8]:
    """Return a batch in memory that is shared; where that is full as an array, which goes through a pipe.

    Left to torch, it is shared as it is sent, in a thread whose failure nobody learns of: the batch would be waited
    for without end.
    """
    try:
        batch.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError:
        array: NDArray[np.uint8] = batch.numpy()
        return array
    return batch


class _EpochSampler(Sampler[list[tuple[int, int]]]):
    """Lists (epoch, image index), batch by batch, of what it was last asked for."""

    def ask(self, epoch: int, index: Tensor) -> None:
        self.epoch, self.index = epoch, index

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch
        for row in self.index.tolist():
            yield [(epoch, i) for i in row]


def _transform(augmentation: Augmentation, size: tuple[int, int]) -> v2.Transform:
    from torchvision.transforms import v2

    steps: list[v2.Transform] = [v2.Identity()]
    if augmentation.crop == "pad":
        down, right = padding(size)
        steps.append(v2.RandomCrop(size, padding=[right, down]))
    elif augmentation.crop == "resized":
        steps.append(v2.RandomResizedCrop(size, scale=CROP_SCALE, ratio=CROP_RATIO, antialias=True))
    if augmentation.flip:
        steps.append(v2.RandomHorizontalFlip())
    if augmentation.randaugment:
        steps.append(make_randaugment())
    return v2.Compose(steps)


def _as_it_is(batch: Any) -> Any:
    return batch


def _context() -> multiprocessing.context.BaseContext | None:
    # Forked workers share the images in memory and start at once, also from scripts without a main guard.
    return multiprocessing.get_context("fork") if sys.platform == "linux" else None


@contextmanager
def _deaths_found_by_waiting() -> Iterator[None]:
    """Keep torch from raising the death of a worker in whatever the main thread does then, by a signal's handler.

    Who waits for that worker's batch finds out too, within seconds, and can say it in a line.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before, was_set = signal.getsignal(signal.SIGCHLD), signal_handling._SIGCHLD_handler_set
    try:
        yield
    finally:
        if not was_set and before is not None:
            signal.signal(signal.SIGCHLD, before)
            signal_handling._SIGCHLD_handler_set = False


def _shared_memory_note(needed: int) -> str:
    """Return in a line that there is too little shared memory for so many bytes; nothing where there is enough."""
    try:
        place = os.statvfs(_SHARED)
    except (AttributeError, OSError):  # another system, which keeps it elsewhere
        return ""
    free = place.f_bavail * place.f_frsize
    if needed <= free:
        return ""
    return (
        f"{_SHARED} has {free / 1e6:,.0f} MB free, batches that are read ahead take {needed / 1e6:,.0f} MB: the rest "
        "goes through pipes, which is slower; --shm-size of docker run gives a container more"
    )


def _check_sockets() -> None:
    """Raise where workers could not make their sockets: they would say so and leave this process waiting."""
    folder = get_temp_dir()
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        raise PretaskError(
            f"processes that read images cannot work in {folder}: its name is over {_LONGEST_FOLDER} bytes; set TMPDIR "
            "to a folder of a shorter name, or --workers 0"
        )


def _check_locks() -> None:
    """Raise where workers could not share locks, which lie in the memory that is shared."""
    try:
        multiprocessing.Lock()
    except OSError as fault:
        raise _not_started(fault) from fault


def _not_started(fault: OSError) -> PretaskError:
    return PretaskError(
        f"processes that read images cannot be started ({fault.strerror or fault}): make room in {_SHARED}, or type "
        "fewer --workers, or 0"
    )
