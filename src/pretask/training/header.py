"""What a run says of itself before it trains: its parts, and what may go wrong with them."""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator

from pretask.data import ImageData
from pretask.data.augment import get_recipe
from pretask.methods import Method
from pretask.pretexts import Pretext
from pretask.training.config import RunConfig
from pretask.training.optim import training_length

FEW_STEPS = 8
SMALLEST_BATCH = 16


def header(
    config: RunConfig,
    data: ImageData,
    method: Method,
    kind: str,
    nbytes: int,
    steps: int,
    accelerator: Accelerator,
) -> list[str]:
    """Return the lines that say what a run is made of, warnings included."""
    facts = method.backbone.facts
    added = f", {method.summary()}" if method.summary() else ""
    optim = config.optim
    epochs, total = training_length(optim, steps)
    lines = [
        f"data      {data.summary()}",
        f"backbone  {facts.summary()}",
        f"method    {config.method.method}{added}, {config.method.loss}; answers: {', '.join(method.inferences)}",
        f"training  {epochs} epochs, {total} steps of {optim.batch_size} images x "
        f"{accelerator.num_processes} process(es), "
        f"{optim.optimizer} {optim.lr:g} {optim.schedule}, augmentation {config.data.augment}",
        f"machine   {accelerator.device}, {torch.get_num_threads()} threads, {config.session.precision}, "
        f"{kind} loader ({nbytes / 1e6:.0f} MB on the device)",
    ]
    warnings = (
        facts.warning(),
        *(_hidden_label(config, pretext) for pretext in method.pretexts),
        _few_steps(len(data.train), steps, optim.batch_size),
        _optimistic(config),
    )
    return lines + [f"warning   {warning}" for warning in warnings if warning]


def _hidden_label(config: RunConfig, pretext: Pretext) -> str:
    recipe = get_recipe(config.data.augment)
    hiding = [part for part in sorted(pretext.hidden_by) if getattr(recipe, part)]
    if not hiding:
        return ""
    return (
        f"augmentation {recipe.name} makes the changes of pretext {pretext.name} at random, "
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
