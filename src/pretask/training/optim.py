"""Optimisers, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pretask.backbones import Backbone
from pretask.config.sections import OptimConfig
from pretask.errors import PretaskError
from pretask.methods import Trainee

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


def check_optimizer(config: OptimConfig, method: Trainee) -> None:
    """Refuse what cannot be optimised as asked.

    Raises:
        PretaskError: layer decay with LARS, or first epochs of new layers where there are none.
    """
    if config.layer_decay < 1 and config.optimizer == "lars":
        raise PretaskError(
            f"--layer-decay {config.layer_decay:g} is for sgd and adamw, lars scales each layer's step by itself: "
            "type --optimizer adamw, or leave it out"
        )
    old = set(method.backbone.parameters())
    if config.head_epochs and not any(w.requires_grad and w not in old for w in method.parameters()):
        raise PretaskError("--head-epochs needs new layers that can learn, here there are none: leave it out")


def make_optimizer(method: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return SGD, AdamW or LARS over the method's weights; fused where the device offers it.

    LARS (You et al., arXiv 1708.03888) scales each layer's step to its weights; biases and normalisation are stepped
    as by SGD, without decay, as pre-training has it (Grill et al., arXiv 2006.07733, appendix C).

    With a layer decay d, groups have an "lr_scale": d for the last layer of the backbone, d² for the one before it, …,
    1 for what is not of the backbone.
    """
    fused = next(method.parameters()).is_cuda
    if config.optimizer == "sgd":
        layered = config.layer_decay < 1
        return torch.optim.SGD(
            _layer_groups(method, config, spare_vectors=False) if layered else method.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov and config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=fused,
        )
    from timm.optim import Lars, param_groups_weight_decay  # importing timm takes seconds

    groups = (
        _layer_groups(method, config, spare_vectors=True)
        if config.layer_decay < 1
        else param_groups_weight_decay(method, config.weight_decay)
    )
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=fused)
    nesterov = config.nesterov and config.momentum > 0
    return Lars(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)


def _layer_groups(method: nn.Module, config: OptimConfig, spare_vectors: bool) -> list[dict[str, Any]]:
    """Return groups of weights by layer, with the share of the learning rate that each has.

    Args:
        method: a trainee, whose backbone has layers.
        config: says the decay.
        spare_vectors: whether biases, norms, and what timm's model names, are without weight decay.
    """
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay

    backbone: Backbone = method.backbone  # type: ignore[assignment]
    network = backbone.layer_root if hasattr(backbone.layer_root, "group_matcher") else backbone
    spared: set[str] = getattr(network, "no_weight_decay", set)() if spare_vectors else set()
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        network,
        config.weight_decay,
        no_weight_decay_list=spared,
        weight_decay_exclude_1d=spare_vectors,
        layer_decay=config.layer_decay,
    )
    for group in groups:  # timm gives its last layer, which with a classifier is that, the whole rate
        group["lr_scale"] *= config.layer_decay
    old = set(backbone.parameters())
    new = nn.ParameterList(weight for weight in method.parameters() if weight not in old)
    added = param_groups_weight_decay(new, config.weight_decay, weight_decay_exclude_1d=spare_vectors)
    return [*groups, *({**group, "lr_scale": 1.0} for group in added)]


class HeadStart:
    """Holds a method's backbone still in the first steps, in which only what is new beside it learns.

    A backbone that is held computes as in evaluation, so that its batch statistics stay, and has no gradient, so that
    the optimiser leaves it and what it keeps of it alone.

    Args:
        method: in training.
        steps: for which the backbone is held; 0 for not at all.
        alone: whether this process is the only one. Several wait for all gradients, which then are made and dropped.
    """

    def __init__(self, method: Trainee, steps: int, alone: bool) -> None:
        self.backbone, self.steps, self.alone = method.backbone, steps, alone
        self.weights = [weight for weight in self.backbone.parameters() if weight.requires_grad]
        self._holding = False

    def begin(self, step: int) -> None:
        """Hold the backbone in a step that is among the first, and let it go in the one after them."""
        hold = step < self.steps
        if hold:
            self.backbone.eval()  # anew in each step: an epoch begins with the whole method in training mode
        elif self._holding:
            self.backbone.train()
        if self.alone and hold != self._holding:
            for weight in self.weights:
                weight.requires_grad_(not hold)
        self._holding = hold

    def drop_gradient(self) -> None:
        """Forget the gradient of a backbone that is held, before it is clipped or stepped."""
        if self._holding:
            for weight in self.weights:
                weight.grad = None


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
    """Give every parameter group the same learning rate, times the group's "lr_scale" where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


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
