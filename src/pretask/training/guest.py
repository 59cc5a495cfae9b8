"""What a call leaves as it was in the program that makes it: random generators, threads, modes of torch."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist


@contextmanager
def as_guest() -> Iterator[None]:
    """Work in somebody else's process: whatever happens, what belongs to the caller is afterwards as it was before.

    That is the state of the random generators of Python, numpy and torch on every device, torch's number of threads,
    default type and treatment of denormal numbers, the filters of warnings (packages imported on the way add theirs),
    the environment, and what accelerate knows of this process. Within, torch computes gradients in float32 by default,
    whatever the caller has set. Contexts may be nested; a function that is decorated with `@as_guest()` is in one.
    """
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_devices = _device_generators()
    threads, dtype, flushed = torch.get_num_threads(), torch.get_default_dtype(), _denormals_are_flushed()
    environment, joined = dict(os.environ), _leave_accelerate()
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
            torch.set_default_dtype(torch.float32)
            yield
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_rng_state(generators[2])
        _restore_device_generators(on_devices)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_flush_denormal(flushed)
        _restore_environment(environment)
        _rejoin_accelerate(joined)


def _device_generators() -> dict[str, Any]:
    """Return the state of the generators of the devices that are in use."""
    states: dict[str, Any] = {}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def _restore_device_generators(states: dict[str, Any]) -> None:
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
    else:
        # Also where there is no GPU yet: torch keeps a seed for the time that there is one.
        torch.cuda.manual_seed_all(torch.initial_seed())
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def _denormals_are_flushed() -> bool:
    smallest = torch.tensor([5e-324], dtype=torch.float64)
    return float(smallest * 1) == 0


def _restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _accelerate_states() -> list[dict[str, Any]]:
    """Return accelerate's shared states, which hold the device that the first user in the process chose."""
    state = sys.modules.get("accelerate.state")
    if state is None:
        return []
    return [kind._shared_state for kind in (state.PartialState, state.AcceleratorState, state.GradientState)]


def _leave_accelerate() -> list[dict[str, Any]] | None:
    """Empty accelerate's states, so that the call chooses its own device; return what they held.

    Processes that work together stay together: None.
    """
    if dist.is_available() and dist.is_initialized():
        return None
    held = [dict(state) for state in _accelerate_states()]
    for state in _accelerate_states():
        state.clear()
    return held


def _rejoin_accelerate(held: list[dict[str, Any]] | None) -> None:
    if held is None or (dist.is_available() and dist.is_initialized()):
        return
    states = _accelerate_states()
    for state in states:
        state.clear()
    for state, content in zip(states, held, strict=False):  # none where accelerate was not yet imported
        state.update(content)
