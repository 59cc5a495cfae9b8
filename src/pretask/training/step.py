"""One step of a training: its gradient, in pieces or at once, compiled or not, and what is metered."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pretask.config.sections import SessionConfig
from pretask.data.loaders.loader import Loader
from pretask.distributed.sharding import is_sharded
from pretask.errors import PretaskError
from pretask.methods import Trainee
from pretask.training.profiling import StepProfile


def resolve_compile(asked: str, device: torch.device, sharded: bool = False) -> str:
    """Return "yes", "no" or "graphs"; "auto" compiles on a GPU, unless weights are shared out among processes.

    Raises:
        PretaskError: CUDA graphs without a GPU.
    """
    if asked == "graphs" and device.type != "cuda":
        raise PretaskError(
            f"--compile graphs records steps on a GPU, this run is on {device.type}: type --compile yes or no"
        )
    if asked != "auto":
        return asked
    return "yes" if device.type == "cuda" and not sharded else "no"


def compile_method(method: nn.Module, how: str) -> None:
    """Compile a method where it stands; batches have one shape, or two where small images come first.

    Args:
        method: what is called in a step.
        how: as `resolve_compile` returns it; "graphs" replays the step's kernels as CUDA graphs, which saves the time
            that launching small ones takes.
    """
    if how == "yes":
        method.compile(dynamic=False)
    elif how == "graphs":
        method.compile(dynamic=False, mode="reduce-overhead")


def begin_step(how: str) -> None:
    """Mark what the step before returned as no longer needed: a replay may overwrite it."""
    if how == "graphs":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


class Meter:
    """Sums named scalar tensors; nothing is read from the device before `means`."""

    def __init__(self) -> None:
        self.steps = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, parts: dict[str, Tensor]) -> None:
        """Add the parts of one step."""
        self.steps += 1
        for name, value in parts.items():
            value = value.detach().float()
            # A copy: the tensor of a step that is replayed is overwritten by the next one.
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()

    def means(self) -> dict[str, float]:
        """Return the mean of each part so far. This waits for the device."""
        if not self.sums:
            return {}
        values = torch.stack(list(self.sums.values())) / self.steps
        return dict(zip(self.sums, values.tolist(), strict=True))

    def state(self) -> dict[str, object]:
        """Return the sums as a tree for a checkpoint."""
        return {"steps": self.steps, "sums": self.sums}

    @classmethod
    def restored(cls, state: dict[str, object], device: torch.device) -> Meter:
        """Return a meter that continues from `state`."""
        meter = cls()
        meter.steps = int(str(state["steps"]))
        sums = state["sums"]
        assert isinstance(sums, dict)
        meter.sums = {name: value.to(device) for name, value in sums.items()}
        return meter


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
        profile: times the phases.
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
    if is_sharded(model):
        model.set_requires_gradient_sync(yes)
        return nullcontext()
    return nullcontext() if yes else accelerator.no_sync(model)
