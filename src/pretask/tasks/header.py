"""What a run says of itself before it trains: its parts, and what may go wrong with them."""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator

from pretask.config.files import C
from pretask.config.sections import SessionConfig
from pretask.data.loaders.loader import Loader
from pretask.tasks.task import D, Task
from pretask.training.optim import training_length
from pretask.training.weights import T

FEW_STEPS = 8
SMALLEST_BATCH = 16


def header(
    task: Task[C, D, T], trainee: T, loader: Loader, accelerator: Accelerator, asked: SessionConfig
) -> list[str]:
    """Return the lines that say what a run is made of, warnings included.

    Args:
        task: with nothing left open.
        trainee, loader: as built for it.
        accelerator: of this process.
        asked: tells what was left open.
    """
    facts, optim = trainee.backbone.facts, task.config.optim
    epochs, total = training_length(optim, len(loader))
    unlabelled = f"unlabelled {len(task.unlabelled):,} train images, those with labels among them"
    warnings = [facts.warning(), *task.warnings(trainee, len(loader))]
    return [
        *([unlabelled] if trainee.unlabelled_per_image else []),
        f"backbone  {facts.summary()}",
        f"method    {task.describe(trainee)}",
        f"training  {epochs} epochs, {total} {task.unit} of {task.images_per_step(trainee)} images x "
        f"{accelerator.num_processes} process(es), {optim.optimizer} {optim.lr:g} {optim.schedule}{task.changes}",
        _machine_line(task.config.session, asked, loader, accelerator),
        *(f"note      {note}" for note in task.notes(trainee)),
        *(f"warning   {warning}" for warning in warnings if warning),
    ]


def _machine_line(
    session: SessionConfig, asked: SessionConfig, loader: Loader, accelerator: Accelerator
) -> str:
    """Return the line that says on what a run computes, and why where the user left it open."""
    on_gpu = accelerator.device.type == "cuda"
    precision: str = session.precision
    compiled = "not compiled" if session.compile == "no" else "compiled"
    if asked.precision == "auto":
        timed = "faster in a short timing" if precision == "bf16" else "bf16 was no faster in a short timing"
        precision += f" ({'what this GPU does best' if on_gpu else timed})"
    if asked.compile == "auto":
        where = "with weights shared out" if session.shard_weights else f"on a {'GPU' if on_gpu else 'CPU'}"
        compiled += f" (the default {where})"
    return (
        f"machine   {accelerator.device}, {torch.get_num_threads()} threads, {precision}, {compiled}, "
        f"{loader.kind} loader ({loader.nbytes / 1e6:.0f} MB on the device)"
    )


def few_steps(images: int, steps: int, batch_size: int) -> str:
    """Return a warning where `images` images make few steps per epoch, else nothing."""
    if steps >= FEW_STEPS or batch_size <= SMALLEST_BATCH:
        return ""
    better = max(SMALLEST_BATCH, 2 ** int(math.log2(max(1, images / FEW_STEPS))))
    size = min(better, batch_size // 2)
    return f"{steps} step(s) per epoch are few for {images} images: consider --batch-size {size}"
