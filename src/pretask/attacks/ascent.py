"""Projected gradient ascent: FGSM and PGD, on a model that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.attacks.balls import BALLS, Ball, Randomness
from pretask.errors import PretaskError, unknown_name

Model = Callable[[Tensor], Tensor]
"""Images [B, C, H, W] in [0, 1] to logits [B, N]."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits [B, N] and labels [B] to one value per image [B]."""


@contextmanager
def evaluation_mode(model: Callable[..., Any]) -> Iterator[None]:
    """Put a model into evaluation mode, and give each of its modules its own mode back, failures included.

    Under attack, batch statistics and dropout would move the target, and the running statistics would be trained. A
    callable that is no `nn.Module` is left alone.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    if isinstance(model, nn.Module):
        model.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


attacked = evaluation_mode
"""What an attack does with its model, by itself too."""


def in_255ths(value: float) -> str:
    """Return a distance `value`, in pixel values of [0, 1], as papers write it: "8/255", "0.3/255"."""
    return f"{255 * value:g}/255"


def check_constants(
    epsilon: float, step_size: float, steps: int, norm: str = "linf", restarts: int = 1
) -> None:
    """Refuse constants that make no attack.

    Raises:
        PretaskError: epsilon outside [0, 1], a step that goes nowhere, fewer than one step or restart, or a
            norm that is not known.
    """
    if not 0 <= epsilon <= 1:
        raise PretaskError(
            f"epsilon {in_255ths(epsilon)} is outside 0/255..255/255: give 8/255, or type --epsilon 8"
        )
    if not (step_size > 0 or step_size == epsilon == 0):  # the ball of radius 0 is one point
        raise PretaskError(
            f"the attack's step {in_255ths(step_size)} goes nowhere: give more than 0, as 2/255"
        )
    if steps < 1:
        raise PretaskError(f"an attack of {steps} steps is none: give 1 or more")
    if restarts < 1:
        raise PretaskError(f"an attack of {restarts} restarts is none: give 1 or more")
    if norm not in BALLS:
        raise unknown_name("norm", norm, BALLS)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each image [B] from logits [B, N] and int64 labels [B]."""
    return F.cross_entropy(logits, labels, reduction="none")


def fgsm(model: Model, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Return x + ε·sign(∇ₓ loss), cut to [0, 1] (Goodfellow et al., "Explaining and Harnessing Adversarial
    Examples", ICLR 2015).

    Arguments, result and errors are those of `pgd`, of which this is one step of ε from the clean image.
    """
    return pgd(model, images, labels, epsilon=epsilon, step_size=epsilon, steps=1, random_start=False)


def pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    norm: str = "linf",
    restarts: int = 1,
    random_start: bool = True,
    start: Tensor | None = None,
    generator: Randomness = None,
    loss: Loss = cross_entropy,
) -> Tensor:
    """Return adversarial images by projected gradient ascent on the loss (Madry et al., "Towards Deep Learning
    Models Resistant to Adversarial Attacks", ICLR 2018).

    Every iterate, the start included, is brought back into the ball of radius `epsilon` around the clean image
    and into [0, 1]. A model that is an `nn.Module` is attacked in evaluation mode and left as it was: its
    modes, and the gradients of its parameters. Works under `no_grad` and `inference_mode` too.

    Args:
        model: images [B, C, H, W] in [0, 1] to logits [B, N].
        images: [B, C, H, W], floating, in [0, 1]; never changed.
        labels: [B], int64 in [0, N).
        epsilon: radius of the ball in pixel values, 8/255 for example.
        step_size: length of a step in the same norm.
        steps: per restart.
        norm: "linf" or "l2" (over all values of an image).
        restarts: attempts, of which the one of highest loss is kept for each image. Under cross-entropy the first that
            makes the model answer another class comes before all that do not; another loss says by itself what it is
            after, such as a class of its own choice.
        random_start: start uniformly in the ball; otherwise at the clean image.
        start: [B, C, H, W], where the first attempt starts instead.
        generator: for the random starts; with one per image these do not depend on the batch.
        loss: what is raised, one value per image.

    Returns:
        [B, C, H, W], without gradients, in dtype, device and memory format of `images`.

    Raises:
        PretaskError: constants that make no attack, or images that are not floating.
    """
    check_constants(epsilon, step_size, steps, norm, restarts)
    if not images.is_floating_point():
        raise PretaskError(f"an attack needs images in [0, 1], these are {images.dtype}: divide by 255")
    with evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
        # Copies: what was made in inference mode cannot take part in a gradient.
        clean, truth = images.clone().detach(), labels.clone()
        ball = BALLS[norm](clean, epsilon)
        kept = _Best(model, truth, loss)
        for attempt in range(restarts):
            if attempt == 0 and start is not None:
                points = ball.project(start.clone().detach())
            else:
                points = ball.random_points(generator) if random_start else clean
            points = _climb(model, points, truth, ball, step_size, steps, loss)
            if restarts == 1:
                return points
            kept.offer(points)
    return kept.points


def _climb(
    model: Model, points: Tensor, labels: Tensor, ball: Ball, step_size: float, steps: int, loss: Loss
) -> Tensor:
    for _ in range(steps):
        variable = points.detach().requires_grad_()
        # The sum, not the mean: an image's gradient does not depend on how many others are in the batch.
        (gradients,) = torch.autograd.grad(loss(model(variable), labels).sum(), variable)
        points = ball.project(points + step_size * ball.ascent(gradients))
    return points


class _Best:
    """Keeps for each image the point of highest loss; under cross-entropy the first that fools the model before it."""

    points: Tensor

    def __init__(self, model: Model, labels: Tensor, loss: Loss) -> None:
        self._model, self._labels, self._loss = model, labels, loss
        self._fooled: Tensor | None = None

    @torch.no_grad()
    def offer(self, points: Tensor) -> None:
        logits = self._model(points)
        losses = self._loss(logits, self._labels)
        fooled = torch.zeros_like(losses, dtype=torch.bool)
        if self._loss is cross_entropy:
            fooled = logits.argmax(1) != self._labels
        if self._fooled is None:
            self.points, self._fooled, self._losses = points, fooled, losses
            return
        better = ~self._fooled & (fooled | (losses > self._losses))
        self.points = torch.where(better.reshape(-1, *[1] * (points.dim() - 1)), points, self.points)
        self._losses = torch.where(better, losses, self._losses)
        self._fooled = self._fooled | fooled
