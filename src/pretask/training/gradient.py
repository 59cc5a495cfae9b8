"""The gradient of a step, of its whole batch at once or of pieces that fit into memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from pretask.data.loader import Loader
from pretask.errors import PretaskError
from pretask.methods import Trainee
from pretask.training.compilation import begin_step
from pretask.training.config import SessionConfig
from pretask.training.profiling import StepProfile


def check_pieces(pieces: int, method: Trainee, loader: Loader) -> None:
    """Refuse pieces of a batch whose gradients do not add up to the batch's.

    Raises:
        PretaskError: the method looks at a batch as a whole, or its rows do not divide evenly.
    """
    if pieces == 1:
        return
    if not method.mean_over_images:
        raise PretaskError(
            f"--accumulate {pieces} is not possible here: the loss compares the images of a batch with each other, "
            "so that pieces give another one: drop it, or share the batch among processes"
        )
    rows = loader.batch_size
    if rows % pieces:
        fitting = max(n for n in range(1, pieces) if rows % n == 0)
        raise PretaskError(
            f"--accumulate {pieces} does not divide the {rows} images of a step evenly: "
            f"type --accumulate {fitting}, or another --batch-size"
        )


def add_gradient(
    model: nn.Module, images: Tensor, labels: Tensor, pieces: int, session: SessionConfig,
    accelerator: Accelerator, profile: StepProfile,
) -> dict[str, Tensor]:  # fmt: skip
    """Add the gradient of a step's loss to what the weights hold, and return the named parts of the loss.

    Ranks exchange gradients once, with the last piece.

    Args:
        model: the method, as it runs on this rank.
        images, labels: of the step, on the device.
        pieces: equal parts of the batch that go through the network one after the other; their means are taken.
        session: says precision and compilation.
        accelerator: of this process.
        profile: is told the phases.
    """
    sums: dict[str, Tensor] = {}
    split = zip(images.chunk(pieces), labels.chunk(pieces), strict=True)
    for number, (some, their) in enumerate(split, 1):
        exchange = number == pieces
        with _exchange(model, accelerator, exchange):
            begin_step(session.compile)
            autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=session.precision == "bf16")
            with profile.phase("forward"), autocast:
                parts: dict[str, Tensor] = model(some, their)
            with profile.phase("backward"):
                accelerator.backward(parts["loss"] / pieces)
        if pieces == 1:
            return parts
        for name, value in parts.items():
            share = value.detach() / pieces
            sums[name] = sums[name] + share if name in sums else share
    return sums


def _exchange(model: nn.Module, accelerator: Accelerator, yes: bool) -> AbstractContextManager[Any]:
    """Return the context of a forward and backward pass after which ranks exchange gradients, or not yet."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(yes)
        return nullcontext()
    return nullcontext() if yes else accelerator.no_sync(model)
