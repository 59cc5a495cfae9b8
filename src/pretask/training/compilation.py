"""Whether and how a training step is compiled."""

from __future__ import annotations

import torch
from torch import nn

from pretask.errors import PretaskError


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
    """Tell that what the step before returned is no longer needed, so that a replay may overwrite it."""
    if how == "graphs":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
