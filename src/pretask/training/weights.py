"""The weights of a training: whole on every process or shared out, what steps them, their average, what is kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import nn
from torch.nn.utils import get_total_norm

from pretask.config.sections import OptimConfig, SessionConfig
from pretask.distributed.gathering import several_ranks
from pretask.distributed.processes import share_batch_statistics
from pretask.distributed.sharding import gathered, load_whole, shard_weights, whole_tensor
from pretask.errors import PretaskError
from pretask.methods import Trainee
from pretask.training.checkpoint import load_optimizer_state, misfit
from pretask.training.optim import make_average, make_optimizer

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

T = TypeVar("T", bound=Trainee)


@dataclass(frozen=True)
class Weights(Generic[T]):
    """A method in training, on one process of a run.

    Attributes:
        method: whose weights are stepped.
        optimizer: steps them.
        average: their moving average, which then is what is evaluated and kept.
        spare: a copy on the CPU for what is evaluated and kept, where the weights themselves are shared out.
        device: of this process.
    """

    method: T
    optimizer: torch.optim.Optimizer
    average: ModelEmaV3 | None
    spare: T | None
    device: torch.device

    def norm(self) -> float:
        """Return the norm of all weights; every process must ask."""
        return float(whole_tensor(get_total_norm(self.method.parameters())))

    def state(self, keep: bool) -> dict[str, Any]:
        """Return the state of all parts, whole; every process must ask, but only what is kept is there.

        Args:
            keep: whether this process keeps it.
        """
        state = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.module.state_dict() if self.average is not None else None,
        }
        whole: dict[str, Any] = gathered(state, keep)
        return whole

    def load(self, state: dict[str, Any]) -> None:
        """Put a state back.

        Raises:
            RuntimeError, ValueError, KeyError: it is of another architecture.
        """
        average = None if self.average is None else self.average.module.state_dict()
        own = {"method": self.method.state_dict(), "average": average}
        for name, fitting in own.items():
            if fault := misfit(state[name], fitting, name):
                raise ValueError(fault)
        load_whole(self.method, state["method"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        if self.average is not None:
            load_whole(self.average.module, state["average"])

    @contextmanager
    def evaluated(self) -> Iterator[T]:
        """Give what is evaluated and kept: whole, and the same on all processes, each of which must ask."""
        try:
            yield self.last()
        finally:
            if self.spare is not None:
                self.spare.cpu()

    def last(self) -> T:
        """Return what is evaluated and kept, to stay on the device; see `evaluated`."""
        source: T = self.average.module if self.average is not None else self.method
        if self.spare is not None:
            self.spare.load_state_dict(gathered(source.state_dict(), keep=True))
            source = self.spare.to(self.device)
        _take_buffers_of_first(source)
        return source


def check_sharding(session: SessionConfig, method: Trainee, processes: int, unshardable: str = "") -> None:
    """Refuse what changes or reads weights where they are not whole, or sharding where there is nothing to share.

    Args:
        session: says whether weights are shared out.
        method: what is to be trained.
        processes: of the run.
        unshardable: why this kind of training cannot share out its weights; "" where it can.

    Raises:
        PretaskError: one process, compilation, what the kind says, or a weight that is a single number, which torch
            cannot share out.
    """
    if not session.shard_weights:
        return
    reason = ""
    if processes == 1:
        reason = "there is one process: start several with torchrun"
    elif session.compile != "no":
        reason = f"a compiled network is not put together in pieces: drop --compile {session.compile}"
    elif unshardable:
        reason = unshardable
    elif scalars := [name for name, weight in method.named_parameters() if weight.dim() == 0]:
        reason = f"this network's {scalars[0]} is a single number, which cannot be shared out: type another --backbone"
    if reason:
        raise PretaskError(f"--shard-weights is not possible here: {reason}, or drop --shard-weights")


def place_weights(
    method: T, optim: OptimConfig, session: SessionConfig, accelerator: Accelerator
) -> Weights[T]:
    """Bring a method to the device, whole or shared out, with its optimiser and its average.

    Args:
        method: on the CPU.
        optim: says how it is trained.
        session: says what it runs on.
        accelerator: of this process.
    """
    device, spare = accelerator.device, None
    if session.shard_weights:
        spare = copy.deepcopy(method)
    else:
        method = method.to(device)
    if session.channels_last:
        whole = method if spare is None else spare  # FSDP takes no other layout than torch's first
        whole.to(memory_format=torch.channels_last)
    if accelerator.num_processes > 1 and session.sync_batch_norm:
        share_batch_statistics(method, device)
    average = make_average(method, optim.ema, foreach=not session.shard_weights)
    if session.shard_weights:
        for whole in (method, *([average.module] if average is not None else [])):
            shard_weights(whole, whole.backbone, device)
    return Weights(method, make_optimizer(method, optim), average, spare, device)


@torch.no_grad()
def _take_buffers_of_first(method: nn.Module) -> None:
    """Take the first process's running statistics, which are those that a checkpoint has."""
    if not several_ranks():
        return
    for buffer in method.buffers():
        sent = buffer.contiguous()
        dist.broadcast(sent, 0)
        buffer.copy_(sent)
