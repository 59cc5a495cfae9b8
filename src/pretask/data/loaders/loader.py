"""One door to both kinds of loader, and to batches of labelled and unlabelled images together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from pretask.data.images.containers import ImageStore, LabelledImages
from pretask.data.loaders.augmentation import Augmentation, get_augmentation
from pretask.data.loaders.batches import FILLER, Batch, Loader
from pretask.data.loaders.resident import ResidentLoader, decoded, held_bytes, lies_ready
from pretask.data.loaders.schedule import SameOrder, Schedule
from pretask.data.loaders.streaming import StreamingLoader
from pretask.errors import PretaskError, unknown_name

__all__ = ["LOADER_KINDS", "Batch", "Loader", "PairedLoader", "create_loader", "in_memory", "pair"]

LOADER_KINDS = ("auto", "resident", "streaming")

_CPU_LIMIT = 2 * 1024**3
_GPU_SHARE = 1 / 8
"""Of all its memory, not of what is free: the loader decides how images are augmented, which nobody else may."""


def create_loader(
    split: LabelledImages,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    device: torch.device | str,
    train: bool,
    augment: str = "none",
    kind: str = "auto",
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 4,
    channels_last: bool = False,
    resident_limit: int | None = None,
    schedule: Schedule | None = None,
) -> Loader:
    """Return a loader of `split` for one rank.

    Args:
        split: the images and labels.
        image_size: (height, width) of the batches.
        batch_size: rows per rank, at most; `Loader.batch_size` is what it came to.
        device: where batches are wanted.
        train: shuffle each epoch and leave out what does not fill a batch on every rank; otherwise in order,
            in equal batches, where rows that only pad have label -1.
        augment: an augmentation of `augment_names()`; with `train=False` only "none".
        kind: "resident" (all images on the device as uint8), "streaming" (read anew in each epoch), or
            "auto": resident where the images take no more than `resident_limit` bytes, or lie in memory
            ready for use; but RandAugment, which works image by image, is left to worker processes.
        seed: decides order and augmentation, with the epoch and the batch; no global generator is touched.
        rank, world_size: of this process, and how many there are: each takes its part of every step.
        workers: processes that read images for streaming; at most one per CPU is started.
        channels_last: memory format of the batches.
        resident_limit: bytes; None for an eighth of the GPU's memory, or 2 GiB elsewhere.
        schedule: which images come when, in place of what `train` says; episodes have one.

    Raises:
        PretaskError: an unknown name, no images, fewer train images than ranks, or an unreadable image.
    """
    if kind not in LOADER_KINDS:
        raise unknown_name("loader kind", kind, LOADER_KINDS)
    augmentation = get_augmentation(augment)
    _check(split, image_size, batch_size, train, augmentation, rank, world_size)
    where = torch.device(device)
    if schedule is None and train:
        schedule = Schedule.train(len(split), batch_size, seed, rank, world_size, split.images.blocks)
    elif schedule is None:
        schedule = Schedule.evaluate(len(split), batch_size, rank, world_size)
    if kind == "auto":
        kind = _choose(split.images, image_size, augmentation, where, workers, resident_limit)
    if kind == "resident":
        return ResidentLoader(
            split,
            image_size=image_size,
            schedule=schedule,
            augmentation=augmentation,
            device=where,
            channels_last=channels_last,
        )
    return StreamingLoader(
        split,
        image_size=image_size,
        schedule=schedule,
        augmentation=augmentation,
        device=where,
        workers=workers,
        channels_last=channels_last,
    )


def in_memory(
    split: LabelledImages, image_size: tuple[int, int], device: torch.device | str, augment: str = "none"
) -> LabelledImages:
    """Return a split that is decoded once, for loaders that are made one after the other.

    It stays as it is where it would take more memory than loaders keep.

    Raises:
        PretaskError: an image cannot be read.
    """
    augmentation = get_augmentation(augment)
    if held_bytes(split.images, image_size, augmentation) > _default_limit(torch.device(device)):
        return split
    return replace(split, images=decoded(split.images, image_size, augmentation))


def _choose(
    images: ImageStore,
    image_size: tuple[int, int],
    augmentation: Augmentation,
    device: torch.device,
    workers: int,
    limit: int | None,
) -> str:
    if augmentation.randaugment and workers > 0:
        return "streaming"
    if limit is None and lies_ready(images, image_size, device):
        return "resident"
    most = _default_limit(device) if limit is None else limit
    return "resident" if held_bytes(images, image_size, augmentation) <= most else "streaming"


def _check(
    split: LabelledImages,
    image_size: tuple[int, int],
    batch_size: int,
    train: bool,
    augmentation: Augmentation,
    rank: int,
    world_size: int,
) -> None:
    if len(split) == 0:
        raise PretaskError("the split has no images: give a data set with at least 1")
    if batch_size < 1:
        raise PretaskError(f"batch size {batch_size} is not allowed: give 1 or more")
    if min(image_size) < 1:
        raise PretaskError(f"image size {image_size} is not allowed: give 1 or more pixels")
    if augmentation.randaugment and split.images.channels not in (None, 1, 3):
        raise PretaskError(
            f"RandAugment needs images of 1 or 3 channels, these have {split.images.channels}: "
            f"type --augment {augmentation.name.removesuffix('-randaugment').replace('randaugment', 'none')}"
        )
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not among 0..{world_size - 1}")
    if not train and augmentation.name != "none":
        raise ValueError(f"augment '{augmentation.name}' is for training; evaluation takes 'none'")


def _default_limit(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * _GPU_SHARE)
    return _CPU_LIMIT


class PairedLoader:
    """Batches of labelled images, each followed by unlabelled ones, and by second views of these; see `Loader`.

    An epoch passes once over the unlabelled images. The labelled ones go round at their own pace: the batch of step s
    of the whole training depends on s alone.

    Args:
        labelled, unlabelled: training loaders of one rank.
        second: of the unlabelled images in the same order, augmented anew; None for one view of each.
    """

    def __init__(self, labelled: Loader, unlabelled: Loader, second: Loader | None = None) -> None:
        self.labelled, self.unlabelled, self.second = labelled, unlabelled, second
        self.schedule = unlabelled.schedule
        self.batch_size = labelled.batch_size + unlabelled.batch_size
        self.num_images = unlabelled.num_images
        self.kind = unlabelled.kind
        self.nbytes = labelled.nbytes + unlabelled.nbytes  # the second views are of the same pixels
        self.note = unlabelled.note or labelled.note

    def __len__(self) -> int:
        return len(self.unlabelled)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches `start`… of an epoch, the labelled images first; others have label -1."""
        labelled = self._labelled_from(epoch * len(self) + start)
        others = [
            loader.epoch(epoch, start) for loader in (self.unlabelled, self.second) if loader is not None
        ]
        for views in zip(*others, strict=True):
            batch, other = next(labelled), views[0]
            yield Batch(
                torch.cat((batch.images, *(view.images for view in views))),
                torch.cat((batch.labels, torch.full_like(other.labels, FILLER))),
                torch.cat((batch.index, other.index)),
            )

    def _labelled_from(self, step: int) -> Iterator[Batch]:
        epoch, start = divmod(step, len(self.labelled))
        while True:
            yield from self.labelled.epoch(epoch, start)
            epoch, start = epoch + 1, 0

    def close(self) -> None:
        """Stop worker processes of all; see `Loader.close`."""
        for loader in (self.labelled, self.unlabelled, self.second):
            if loader is not None:
                loader.close()


def pair(
    labelled: Loader,
    make: Callable[[LabelledImages, int, Schedule | None], Loader],
    unlabelled: LabelledImages,
    ratio: int,
    views: int = 1,
) -> PairedLoader:
    """Return batches of labelled images with `ratio` unlabelled ones for each.

    Args:
        labelled: a training loader.
        make: makes one of images, for a batch size and, where it is given, a schedule.
        unlabelled: the images; their labels are not read.
        ratio: unlabelled images per labelled one, at least 1.
        views: of each unlabelled image, 1 or 2.

    Raises:
        PretaskError: there are fewer unlabelled images than a batch takes.
    """
    check_ratio(labelled.batch_size, ratio, len(unlabelled))
    wanted = ratio * labelled.batch_size
    other = make(unlabelled, wanted, None)
    if other.batch_size < wanted:  # each rank takes a batch of its own
        raise _too_few(labelled.batch_size, ratio, len(unlabelled))
    second = None if views == 1 else make(unlabelled, wanted, SameOrder.of(other.schedule))
    return PairedLoader(labelled, other, second)


def check_ratio(rows: int, ratio: int, unlabelled: int) -> None:
    """Refuse a step of `rows` labelled images, and `ratio` unlabelled ones for each, where there are fewer of these.

    Raises:
        PretaskError: see above.
    """
    if ratio * rows > unlabelled:
        raise _too_few(rows, ratio, unlabelled)


def _too_few(rows: int, ratio: int, unlabelled: int) -> PretaskError:
    return PretaskError(
        f"a step takes {rows} labelled and {ratio * rows} unlabelled images, and there are {unlabelled} of these: "
        "type a smaller --batch-size or --unlabelled-ratio"
    )
