"""Copies to a GPU that run beside its work."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def copied_ahead(tensors: Iterator[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield CPU tensors on the device; on a GPU each is copied, on a stream of its own, while the last is in use.

    Args:
        tensors: pinned, for copies that the host does not wait for.
        device: where they are wanted.
    """
    if device.type != "cuda":
        yield from (tensor.to(device) for tensor in tensors)
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ahead: tuple[Tensor, torch.cuda.Event] | None = None
    for tensor in tensors:
        with torch.cuda.stream(stream):
            coming = tensor.to(device, non_blocking=True), stream.record_event()
        if ahead is not None:
            yield _handed_over(*ahead)
        ahead = coming
    if ahead is not None:
        yield _handed_over(*ahead)


def _handed_over(tensor: Tensor, copied: torch.cuda.Event) -> Tensor:
    """Let the current stream wait for the copy, and keep the memory until that stream is done with it."""
    current = torch.cuda.current_stream(tensor.device)
    current.wait_event(copied)
    tensor.record_stream(current)
    return tensor
