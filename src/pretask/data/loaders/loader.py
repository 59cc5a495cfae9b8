"""One door to both kinds of loader."""

from __future__ import annotations

import torch

from pretask.data.images.containers import ImageStore, LabelledImages
from pretask.data.loaders.augmentation import Augmentation, get_augmentation
from pretask.data.loaders.batches import Batch, Loader
from pretask.data.loaders.resident import ResidentLoader, held_bytes, lies_ready
from pretask.data.loaders.schedule import Schedule
from pretask.data.loaders.streaming import StreamingLoader
from pretask.errors import PretaskError, unknown_name

__all__ = ["LOADER_KINDS", "Batch", "Loader", "create_loader"]

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
        augment: a augmentation of `augment_names()`; with `train=False` only "none".
        kind: "resident" (all images on the device as uint8), "streaming" (read anew in each epoch), or
            "auto": resident where the images take no more than `resident_limit` bytes, or lie in memory
            ready for use; but RandAugment, which works image by image, is left to worker processes.
        seed: decides order and augmentation, with the epoch and the batch; no global generator is touched.
        rank, world_size: of this process, and how many there are: each takes its part of every step.
        workers: processes that read images for streaming; at most one per processor is started.
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
        raise PretaskError("the split has no images: give a data set with at least one")
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
