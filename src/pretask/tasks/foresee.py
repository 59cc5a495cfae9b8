"""What a task will take, measured on noise before its first step; a batch that does not fit is cut into pieces."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pretask.config.files import override
from pretask.data.loaders.batches import FILLER
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError
from pretask.methods import Trainee
from pretask.options import Decision
from pretask.tasks.task import Task
from pretask.training.display import in_bytes
from pretask.training.foresight import Expected, Foresight, foresee_memory, foresee_seconds
from pretask.training.optim import training_length

SMALL_BATCH = 32
FORWARD_SHARE = 3
"""A forward and backward pass is about so many forward passes."""


def foresee(
    task: Task[Any, Any, Any], trainee: Trainee, pieces_open: bool = True, timed: bool = True
) -> Expected | None:
    """Measure what a step takes; where it is more than there is, cut the batch into pieces.

    Every process must ask: a step may exchange features.

    Args:
        task: nothing of it is open; `accumulate` of its configuration may change.
        trainee: what it trains.
        pieces_open: whether `accumulate` may be chosen here.
        timed: whether to measure the time as well.

    Returns:
        what the training will take; None where the kind is not `measured`, or the time was not.

    Raises:
        PretaskError: too little memory, and the batch cannot be cut.
    """
    if not task.measured:
        return None
    rows = min(task.images_per_step(trainee), len(task.images.train))
    optim = task.config.optim
    here = foresee_memory(trainee, partial(_step, task), optim.optimizer, task.device)
    found = found_by_first(lambda: here)
    pieces = optim.accumulate
    if rows / pieces > found.most_rows:
        needs = f"a step of {rows // pieces} images needs {in_bytes(found.memory(rows // pieces))}"
        needs += f", {in_bytes(found.free)} are free"
        pieces = _pieces(trainee, rows, found, needs, pieces_open)
        task.decided += (Decision("accumulate", pieces, needs),)
        task.config = override(task.config, accumulate=pieces)
    if not timed:
        return None
    piece = rows // pieces
    piece_seconds = foresee_seconds(trainee, partial(_step, task), piece, task.device)
    epochs, steps = training_length(optim, max(1, len(task.images.train) // rows))
    judged = 0 if task.images.validation is None else len(task.images.validation) * epochs
    judging = judged * trainee.image_views / (FORWARD_SHARE * piece)
    limit = task.config.session.max_seconds or math.inf
    return Expected(
        seconds=min(limit, piece_seconds * (steps * pieces + judging)),
        memory=found.memory(piece),
        free=found.free,
    )


def seconds_per_image(task: Task[Any, Any, Any], trainee: Trainee) -> float:
    """Return about what an image costs in training, in seconds; on a CPU a small batch says it."""
    rows = min(task.images_per_step(trainee), len(task.images.train))
    if task.device.type == "cpu":
        rows = min(rows, SMALL_BATCH)
    return foresee_seconds(trainee, partial(_step, task), rows, task.device) / rows


def _pieces(trainee: Trainee, rows: int, found: Foresight, needs: str, pieces_open: bool) -> int:
    """Return into how many pieces a step of so many images has to be cut."""
    fitting = [n for n in range(1, rows + 1) if rows % n == 0 and rows // n <= found.most_rows]
    if fitting and pieces_open and trainee.mean_over_images:
        return fitting[0]
    way_out = "a smaller --image-size or --backbone"
    if found.most_rows and not trainee.mean_over_images:
        way_out = f"--batch-size {found.most_rows}, or {way_out}"
    elif fitting:
        way_out = f"--accumulate {fitting[0]}, or {way_out}"
    raise PretaskError(f"{needs}: type {way_out}")


def _step(task: Task[Any, Any, Any], trainee: Trainee, rows: int) -> None:
    """Run a forward and backward pass over noise."""
    images, labels = _noise(task, trainee, rows)
    prepare, session = task.preparation(), task.config.session
    if prepare is not None:
        images, labels = prepare(trainee, images, labels)
    with torch.autocast(task.device.type, torch.bfloat16, enabled=session.precision == "bf16"):
        loss = trainee(images, labels)["loss"]
    loss.backward()


def _noise(task: Task[Any, Any, Any], trainee: Trainee, rows: int) -> tuple[Tensor, Tensor]:
    """Return noise in the form of a step's batch: images [B, C, H, W] in [0, 1] and labels, int64 [B], on the device.

    Unlabelled images are behind the others, and behind these their further views.
    """
    count = rows * (1 + trainee.unlabelled_per_image)
    views = rows * (1 + trainee.unlabelled_per_image * trainee.unlabelled_views)
    layout = torch.channels_last if task.config.session.channels_last else torch.contiguous_format
    images = torch.rand(views, task.images.channels, *task.images.image_size, device=task.device)
    labels = torch.randint(max(1, task.images.num_classes), (count,), device=task.device)
    labels[rows:] = FILLER
    return images.contiguous(memory_format=layout), labels
