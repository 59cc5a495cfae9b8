"""What a training will need, measured on copies of its first steps: memory and time."""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pretask.methods import Trainee
from pretask.training.device import free_memory
from pretask.training.display import in_bytes, in_minutes

STATES = {"sgd": 1, "lars": 1, "adamw": 2}
"""Values that an optimiser keeps for each weight."""
MARGIN = 1.25
"""What libraries' work space and fragments take beside the tensors of a step, as a factor."""
MOST_TIMED, PATIENCE = 6, 1.0
"""Steps that are timed, and the seconds after which no further one is: other work on a machine slows some of them."""
SHARE = 0.8
"""Of the free memory, what a training may take."""
Step = Callable[[Any, int], None]
"""Runs a forward and a backward pass of a model over so many images."""


@dataclass(frozen=True)
class Foresight:
    """What a step takes.

    Attributes:
        fixed: bytes that do not depend on the batch: gradients and the optimiser's state.
        per_image: bytes of an image of a batch that goes through the network at once.
        free: bytes that the training may have.
    """

    fixed: float
    per_image: float
    free: float

    def memory(self, rows: int) -> float:
        """Return the bytes that batches of so many images take at once."""
        return self.fixed + MARGIN * self.per_image * rows

    @property
    def most_rows(self) -> int:
        """How many images may go through the network at once; 0 where not even one."""
        return max(0, int((SHARE * self.free - self.fixed) / (MARGIN * max(1.0, self.per_image))))


@dataclass(frozen=True)
class Expected:
    """What a training will take.

    Attributes:
        seconds: of all steps and validations.
        memory: bytes at the highest, beside the data.
        free: bytes that there are.
    """

    seconds: float
    memory: float
    free: float

    def line(self) -> str:
        """Return it in words, for the header."""
        memory = f"{in_bytes(self.memory)} of memory beside the data ({in_bytes(self.free)} free)"
        return f"expected  {in_minutes(self.seconds)}, {memory}"


def foresee_memory(model: Trainee, step: Step, optimizer: str, device: torch.device) -> Foresight:
    """Measure what a step takes, on a copy of the model and two small batches; no generator moves.

    Args:
        model: to be trained.
        step: see `Step`.
        optimizer: its name.
        device: of the training.
    """
    few, more = 2, 8
    with _twin(model, device) as twin:
        step(twin, few)  # so that gradients are there: else they would hide what images take
        low, high = (_peak(twin, step, rows, device) for rows in (few, more))
    per_image = max(0.0, (high - low) / (more - few))
    weights = sum(weight.nbytes for weight in model.parameters() if weight.requires_grad)
    fixed = (
        max(0.0, low - few * per_image) + weights * STATES[optimizer]
    )  # gradients are among what was measured
    return Foresight(fixed, per_image, free_memory(device))


def foresee_seconds(model: Trainee, step: Step, rows: int, device: torch.device) -> float:
    """Return the seconds of a forward and backward pass over so many images: the fastest of a few after a first one."""
    taken: list[float] = []
    with _twin(model, device) as twin:
        while len(taken) < 2 or (len(taken) < MOST_TIMED and sum(taken) < PATIENCE):
            _synchronize(device)
            start = time.perf_counter()
            step(twin, rows)
            _synchronize(device)
            taken.append(time.perf_counter() - start)
    return min(taken[1:])


@contextmanager
def _twin(model: Trainee, device: torch.device) -> Iterator[Trainee]:
    """Yield a copy of a model on the device, at the end of its training; generators are put back afterwards."""
    twin = copy.deepcopy(model).to(device)
    twin.set_progress(1.0)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield twin


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(model: Trainee, step: Step, rows: int, device: torch.device) -> int:
    """Return the bytes that a step takes at its highest beyond what is there before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = int(torch.cuda.memory_allocated(device))
        step(model, rows)
        most = int(torch.cuda.max_memory_allocated(device))
        return most - before
    counter = _Counter()
    with counter:
        step(model, rows)
    return counter.peak


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations make, while they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        taken = {
            id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
        }
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage(), taken)
        self.peak = max(self.peak, self.now)
        return made

    def _add(self, storage: torch.UntypedStorage, taken: set[int]) -> None:
        key = id(storage)
        if key in self._known or key in taken:  # a view, or written in place
            return
        self._known.add(key)
        size = storage.nbytes()
        self.now += size
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
