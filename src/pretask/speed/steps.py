"""Training steps as `pretask train` makes them, on images without meaning, for timing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from pretask.config.sections import RunConfig
from pretask.data import ArrayImages, ImageData, LabelledImages
from pretask.data.loaders.batches import Batch
from pretask.tasks import Supervised
from pretask.training.device import prepare_host
from pretask.training.optim import make_optimizer
from pretask.training.step import Meter, begin_step, compile_method


@dataclass(frozen=True)
class Work:
    """Of one step.

    Attributes:
        flops: of products and convolutions, forward and backward; a multiplication and an addition are two.
        nbytes: read and written by operations run one by one. Fused ones move fewer.
    """

    flops: float
    nbytes: float


def count_work(step: Callable[[], object]) -> Work:
    """Run a step once and count; it must not be compiled."""
    counted, moved = FlopCounterMode(display=False), _Bytes()
    with counted, moved:
        step()
    return Work(float(counted.get_total_flops()), float(moved.nbytes))


class _Bytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the sizes of the tensors that operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nbytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not _is_view(func):
            tensors = [item for item in tree_iter((args, kwargs, out)) if isinstance(item, Tensor)]
            self.nbytes += sum(tensor.nbytes for tensor in tensors)
        return out


def _is_view(func: Any) -> bool:
    return isinstance(func, torch._ops.OpOverload) and func.is_view


def made_up_data(count: int, classes: int, channels: int, side: int, seed: int = 0) -> ImageData:
    """Return random pixels with random labels: what a step costs does not depend on what images show."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=draws)
    labels = torch.arange(count) % classes
    names = tuple(map(str, range(classes)))
    statistics = (0.5,) * channels, (0.25,) * channels
    train = LabelledImages(ArrayImages(images), labels)
    return ImageData("made up", train, None, None, names, channels, (side, side), *statistics, "crop-flip")


class TrainingSteps:
    """Steps of one method, batches included, with everything that the configuration leaves open decided.

    Args:
        config: the run; what it leaves open is decided as for a training.
        data: what it trains on.
        device: where.

    Attributes:
        config: as decided.
        images: labelled ones in a step.
        wait_share: of the time in `step` so far, the share that went by waiting for batches.
    """

    def __init__(self, config: RunConfig, data: ImageData, device: torch.device) -> None:
        prepare_host(config.session.threads, device)
        task = Supervised(config, data)
        self.config = task.decide(device)
        self.device, self._waited, self._spent = device, 0.0, 0.0
        method = task.make().to(device)
        if self.config.session.channels_last:
            method = method.to(memory_format=torch.channels_last)
        self.method = method.train()
        self.optimizer = make_optimizer(method, self.config.optim)
        compile_method(self.method, self.config.session.compile)
        self.images, self.loader = task.images_per_step(method), task.loader(method)
        self.batches, self.meter = self._endless(), Meter()

    def _endless(self) -> Iterator[Batch]:
        epoch = 0
        while True:
            yield from self.loader.epoch(epoch)
            epoch += 1

    def step(self) -> None:
        """Take a batch and train on it."""
        started = time.perf_counter()
        batch = next(self.batches)
        self._waited += time.perf_counter() - started
        self.train_on(batch.images, batch.labels)
        self._spent += time.perf_counter() - started

    @property
    def wait_share(self) -> float:
        return self._waited / max(self._spent, 1e-9)

    def train_on(self, images: Tensor, labels: Tensor, counted: bool = False) -> None:
        """Make one step; nothing is read from the device. To be counted, it is not compiled."""
        step = self.method.forward if counted else self.method
        begin_step(self.config.session.compile)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.session.precision == "bf16"
        ):
            parts = step(images, labels)
        parts["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.meter.add(parts)

    def count(self) -> Work:
        """Return what a step asks of the machine, without making the batch."""
        batch = next(self.batches)
        return count_work(lambda: self.train_on(batch.images, batch.labels, counted=True))

    def close(self) -> None:
        """Stop the loader's processes."""
        self.loader.close()
