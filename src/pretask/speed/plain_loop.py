"""Self-supervised label augmentation as most public code trains it, to measure against.

Float32 in NCHW; each image is a PIL image that torchvision crops, mirrors and normalises one by one in the workers of
a `DataLoader`; the views of a batch are rotated in a Python loop and stacked; loss and accuracies are read from the
device in every step, those of the views by cross-entropies of their own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from pretask.backbones import create_backbone


class Steps(Protocol):
    """Something that makes one step after another."""

    def step(self) -> object:
        """Make one."""


class OwnProcess:
    """Makes steps in another process, which does nothing in between.

    What a process sets for itself, such as how memory is handed out, then holds for one piece alone.

    Args:
        make: makes the piece, in the other process; it can be pickled.
        threads: of that process.

    Raises:
        RuntimeError: the other process failed; what it says is on the error stream.
    """

    def __init__(self, make: Callable[[], Steps], threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, threads))
        self._process.start()
        theirs.close()
        self._answer()

    def step(self) -> None:
        """Make a step there and wait for it."""
        self._pipe.send(True)
        self._answer()

    def close(self) -> None:
        """End the other process."""
        self._pipe.close()
        self._process.join()

    def _answer(self) -> None:
        try:
            self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise RuntimeError(f"a timed process ended with code {self._process.exitcode}") from None


def _serve(pipe: Connection, make: Callable[[], Steps], threads: int) -> None:
    torch.set_num_threads(threads)
    piece = make()
    while True:
        pipe.send(True)
        try:
            pipe.recv()
        except EOFError:  # nobody asks any more
            return
        piece.step()


_VIEWS = 4
_ENDLESS = 2**40  # batches


class PilImages(Dataset[tuple[Tensor, int]]):
    """Images uint8 [n, C, H, W] as PIL images, each cropped, mirrored and normalised when it is asked for."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = [_as_pil(image) for image in images]
        self.labels = labels.tolist()
        channels, side = images.shape[1], images.shape[-1]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(side, padding=side // 8),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * channels, [0.25] * channels),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def _as_pil(image: Tensor) -> Image.Image:
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else np.ascontiguousarray(array))


def pil_batches(images: Tensor, labels: Tensor, batch_size: int, workers: int) -> Iterator[list[Tensor]]:
    """Yield random batches without end: between epochs, which are short here, workers would have to begin anew."""
    data = PilImages(images, labels)
    order = RandomSampler(data, replacement=True, num_samples=_ENDLESS * batch_size)
    yield from DataLoader(data, batch_size, sampler=order, num_workers=workers)


class PlainLoop:
    """Trains with joint labels (`views`) or with plain labels, one batch at a time.

    Args:
        backbone: name; the same network as the method that it is compared with.
        images: uint8 [n, C, H, W].
        labels: int64 [n].
        batch_size: images in a step.
        device: where it trains.
        workers: processes that read images.
        joint: whether each image is seen in four rotations with joint labels, or as it is.
    """

    def __init__(
        self, backbone: str, images: Tensor, labels: Tensor, batch_size: int, device: torch.device, workers: int = 2,
        joint: bool = True,
    ) -> None:  # fmt: skip
        self.num_classes, self.device = int(labels.max()) + 1, device
        self.views = _VIEWS if joint else 1
        network = create_backbone(
            backbone, image_size=(images.shape[-2], images.shape[-1]), in_channels=images.shape[1]
        )
        head = nn.Linear(network.num_features, self.num_classes * self.views)
        self.model = nn.Sequential(network, head).to(device).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
        self.batches = pil_batches(images, labels, batch_size, workers)
        self.log: list[tuple[float, ...]] = []

    def step(self) -> None:
        """Take a batch, train on it, and read how that went."""
        images, labels = (part.to(self.device) for part in next(self.batches))
        if self.views > 1:
            turned = [torch.rot90(images, k, (2, 3)) for k in range(_VIEWS)]
            images = torch.stack(turned, 1).view(-1, *images.shape[1:])
        joint = torch.stack([labels * self.views + k for k in range(self.views)], 1).view(-1)
        logits = self.model(images)
        loss = F.cross_entropy(logits, joint)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._read(loss, logits, labels)

    def _read(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        by_view = logits.view(len(labels), self.views, self.num_classes, self.views)
        single = by_view[:, 0, :, 0]
        aggregated = torch.stack([by_view[:, k, :, k] for k in range(self.views)], 1).mean(1)
        read = [loss.item()]
        for answer in (single, aggregated):
            read.append(F.cross_entropy(answer, labels).item())
            read.append((answer.argmax(1) == labels).float().mean().item())
        self.log.append(tuple(read))
