"""Optimisers, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from pretask.config.sections import OptimConfig
from pretask.errors import PretaskError

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


def make_optimizer(method: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return SGD, AdamW or LARS over the method's weights; fused where the device offers it.

    LARS (You et al., arXiv 1708.03888) scales each layer's step to its weights; biases and normalisation are stepped
    as by SGD, without decay, as pre-training has it (Grill et al., arXiv 2006.07733, appendix C).
    """
    fused = next(method.parameters()).is_cuda
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            method.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov and config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=fused,
        )
    from timm.optim import Lars, param_groups_weight_decay  # importing timm takes seconds

    groups = param_groups_weight_decay(method, config.weight_decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=fused)
    nesterov = config.nesterov and config.momentum > 0
    return Lars(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)


def training_length(config: OptimConfig, steps_per_epoch: int) -> tuple[int, int]:
    """Return (epochs, total steps); a given number of steps may end inside the last epoch.

    Raises:
        PretaskError: fewer than one epoch or step.
    """
    total = config.steps if config.steps is not None else config.epochs * steps_per_epoch
    if total < 1:
        raise PretaskError("there is nothing to train: give --epochs or --steps of at least 1")
    return math.ceil(total / steps_per_epoch), total


def lr_schedule(config: OptimConfig, steps_per_epoch: int, total: int) -> Callable[[int], float]:
    """Return the learning rate of step 0 … total-1.

    A linear warm-up, then: cosine to 0; a factor at each milestone; one cycle (linear rise over the first 30 % unless
    a longer warm-up is given, cosine fall; Smith & Topin 2018); or constant.
    """
    warmup = (
        config.warmup_steps
        if config.warmup_steps is not None
        else round(config.warmup_epochs * steps_per_epoch)
    )
    if config.schedule == "one-cycle":
        warmup = max(warmup, round(0.3 * total))
    warmup = min(warmup, total - 1)

    def rate(step: int) -> float:
        if step < warmup:
            return config.lr * (step + 1) / (warmup + 1)
        if config.schedule == "constant":
            return config.lr
        if config.schedule == "step":
            return config.lr * config.decay ** sum(step >= m * total for m in config.milestones)
        return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return rate


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def make_average(method: nn.Module, decay: float, foreach: bool = True) -> ModelEmaV3 | None:
    """Return timm's exponential moving average of the weights, its decay warmed up; None where the decay is 0.

    Args:
        method: what is averaged; it is copied.
        decay: of the average.
        foreach: whether all weights are averaged in one call, which those that are shared out cannot be.

    Raises:
        PretaskError: a decay outside [0, 1).
    """
    if not 0 <= decay < 1:
        raise PretaskError(f"an average with decay {decay} is not possible: type --ema 0.999, or 0 for none")
    if decay == 0:
        return None
    from timm.utils import ModelEmaV3

    return ModelEmaV3(method, decay=decay, use_warmup=True, foreach=foreach)
