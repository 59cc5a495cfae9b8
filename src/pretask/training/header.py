"""What a run says of itself before it trains: its parts, and what may go wrong with them."""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator

from pretask.config.files import AnyConfig
from pretask.config.sections import PretrainConfig, RunConfig, SessionConfig
from pretask.data import ImageData
from pretask.data.loaders.augmentation import get_augmentation
from pretask.data.loaders.loader import Loader
from pretask.methods import Method
from pretask.methods.fixmatch import FixMatch
from pretask.pretexts import Pretext
from pretask.pretraining import Objective
from pretask.training.build import images_per_step
from pretask.training.optim import training_length
from pretask.training.preparation import low_resolution

FEW_STEPS = 8
SMALLEST_BATCH = 16


def header(
    config: RunConfig,
    data: ImageData,
    method: Method,
    loader: Loader,
    accelerator: Accelerator,
    asked: SessionConfig,
) -> list[str]:
    """Return the lines that say what a run is made of, warnings included; `asked` tells what was left open."""
    added = f", {method.summary()}" if method.summary() else ""
    lines = [
        f"data      {data.summary()}",
        f"backbone  {method.backbone.facts.summary()}",
        f"method    {config.method.method}{added}, {config.method.loss}; answers: {', '.join(method.inferences)}",
        f"{_training(config, loader, accelerator)}, augmentation {config.data.augment}{_small_first(config, data)}",
        machine_line(config.session, asked, loader, accelerator),
    ]
    if isinstance(method, FixMatch):
        count = len(data.unlabelled or data.train)
        lines.insert(1, f"unlabelled {count:,} train images, those with labels among them")
    warnings = (
        method.backbone.facts.warning(),
        *(_hidden_label(config, pretext) for pretext in method.pretexts),
        _few_steps(len(data.train), len(loader), config.optim.batch_size),
        _optimistic(config),
    )
    return lines + [f"warning   {warning}" for warning in warnings if warning]


def pretraining_header(
    config: PretrainConfig,
    data: ImageData,
    objective: Objective,
    loader: Loader,
    accelerator: Accelerator,
    asked: SessionConfig,
) -> list[str]:
    """Return the lines that say what a pre-training is made of, warnings included."""
    wanted = config.pretraining
    lines = [
        f"data      {data.summary()}",
        f"backbone  {objective.backbone.facts.summary()}",
        f"method    {wanted.method}, {objective.summary()}; views: {wanted.strength}; labels are not read",
        _training(config, loader, accelerator),
        machine_line(config.session, asked, loader, accelerator),
    ]
    if objective.reconstruction:
        lines.append(f"note      reconstructed, not the paper's own: {objective.reconstruction}")
    warnings = (
        objective.backbone.facts.warning(),
        _few_steps(len(data.train), len(loader), config.optim.batch_size),
    )
    return lines + [f"warning   {warning}" for warning in warnings if warning]


def _training(config: AnyConfig, loader: Loader, accelerator: Accelerator) -> str:
    optim = config.optim
    epochs, total = training_length(optim, len(loader))
    return (
        f"training  {epochs} epochs, {total} steps of {images_per_step(config)} images x "
        f"{accelerator.num_processes} process(es), {optim.optimizer} {optim.lr:g} {optim.schedule}"
    )


def _small_first(config: RunConfig, data: ImageData) -> str:
    low = low_resolution(config.method)
    if low is None:
        return ""
    height, width = low.size(data.image_size)
    return f", {height}x{width} pixels in the first {low.share:.0%}"


def machine_line(
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
        where = (
            "with weights shared out" if session.shard_weights else f"on a {'GPU' if on_gpu else 'processor'}"
        )
        compiled += f" (the default {where})"
    return (
        f"machine   {accelerator.device}, {torch.get_num_threads()} threads, {precision}, {compiled}, "
        f"{loader.kind} loader ({loader.nbytes / 1e6:.0f} MB on the device)"
    )


def _hidden_label(config: RunConfig, pretext: Pretext) -> str:
    augmentation = get_augmentation(config.data.augment)
    hiding = [part for part in sorted(pretext.hidden_by) if getattr(augmentation, part)]
    if not hiding:
        return ""
    return (
        f"augmentation {augmentation.name} makes the changes of pretext {pretext.name} at random, "
        f"which hides its label: type an --augment without {hiding[0]}"
    )


def _few_steps(images: int, steps: int, batch_size: int) -> str:
    if steps >= FEW_STEPS or batch_size <= SMALLEST_BATCH:
        return ""
    better = max(SMALLEST_BATCH, 2 ** int(math.log2(max(1, images / FEW_STEPS))))
    size = min(better, batch_size // 2)
    return f"{steps} step(s) per epoch are few for {images} images: consider --batch-size {size}"


def _optimistic(config: RunConfig) -> str:
    chosen = config.session.selection == "test"
    return "selection on the test set: the reported test accuracy is optimistic" if chosen else ""
