"""What all trainings of a job share: data at each size, the configuration of a candidate, what a step takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.data import ImageData, load_data
from pretask.data.images.containers import LabelledImages
from pretask.data.loaders.loader import in_memory
from pretask.fitting.plan import LARGEST, NETWORKS, TUNED_EPOCHS, TUNED_SIZES, Candidate
from pretask.studies.plan import Variant
from pretask.tasks import Supervised
from pretask.tasks.foresee import seconds_per_image
from pretask.training.data import same_images, unsplit_data

FASTER = 0.95
"""Of the time with more threads, at most which fewer threads take where they are chosen."""


@dataclass(frozen=True)
class Cost:
    """What training costs.

    Attributes:
        seconds: for an image.
        threads: with so many threads; None where their number was not chosen.
    """

    seconds: float
    threads: int | None


class Trainings:
    """The trainings that a job may make.

    Args:
        base: what all share.
        variants: ways of learning by name.
        given: unsplit data in place of what `base` names.
        device: where to compute.

    Attributes:
        raw: the data, unsplit, as large as anything is tried.
    """

    def __init__(
        self,
        base: RunConfig,
        variants: Mapping[str, Variant],
        given: ImageData | None,
        device: torch.device,
    ) -> None:
        self.base, self.variants, self.given, self.device = base, variants, given, device
        self.raw = unsplit_data(base, LARGEST) if given is None else given
        self._sized: dict[int | None, ImageData] = {}

    def begin(self, folder: Path) -> None:
        """Take the images that the job in a folder began with; see `same_images`."""
        self.raw = same_images(self.base, self.raw, folder, new=True)

    def data(self, size: int | None) -> ImageData:
        """Return the data at a size (None for the images' own), unsplit and decoded; one size is kept at a time."""
        if size not in self._sized:
            data = self.raw if size is None else load_data(self.raw, image_size=size)
            self._sized = {size: self._decoded(data)}
        return self._sized[size]

    def _decoded(self, data: ImageData) -> ImageData:
        """Return data whose images are decoded once for all trainings, as far as they may be in memory."""
        asked = self.base.data
        if asked.loader == "streaming":
            return data
        augment = data.augment if asked.augment == "auto" else asked.augment

        def decoded(split: LabelledImages) -> LabelledImages:
            return in_memory(split, data.image_size, self.device, augment)

        return replace(
            data,
            train=decoded(data.train),
            validation=None if data.validation is None else decoded(data.validation),
            test=None if data.test is None else decoded(data.test),
        )

    def splits(self, size: int | None) -> ImageData:
        """Return the data at a size, split as the configuration has it."""
        return self.split(self.data(size))

    def split(self, data: ImageData) -> ImageData:
        """Split data as the configuration has it."""
        return Supervised.read(self.base, data).data

    def networks(self) -> dict[Candidate, float]:
        """Return the networks and sizes that could be tried, with the first way of learning, and when each pays.

        Returns:
            the epochs from which it pays for each, the cheapest first.
        """
        asked, native = self.base.backbone, min(self.raw.image_size)
        known: list[tuple[str, int, float]] = list(NETWORKS)
        if asked.published:
            known = [(asked.backbone, size, TUNED_EPOCHS) for size in TUNED_SIZES]
        elif asked.backbone != "auto":
            known = list({size: (asked.backbone, size, epochs) for _, size, epochs in NETWORKS}.values())
        fixed = self.base.data.image_size is not None or native <= min(size for _, size, _ in known)
        way = next(iter(self.variants))
        found: dict[Candidate, float] = {}
        for name, size, epochs in known:
            if fixed or size <= native:
                found.setdefault(Candidate(name, None if fixed else size, way), epochs)
        return found

    def config(self, candidate: Candidate, **more: Any) -> RunConfig:
        """Return the configuration of a training of a candidate."""
        size = {} if candidate.image_size is None else {"image_size": candidate.image_size}
        config = override(self.variants[candidate.way].config(self.base), **size)
        if config.backbone.backbone == "auto":
            config = override(config, backbone=candidate.backbone)
        return override(config, **more)

    def cost(self, candidate: Candidate, threads: int | None) -> Cost:
        """Return about what an image costs in a training of a candidate, measured on noise.

        Args:
            candidate: whose network is measured.
            threads: at most, where fewer may be faster: all, then half of them, as long as that is faster. Where other
                work has a CPU, one thread that waits for it holds up all others. None leaves their number as it is.
        """
        task = self._on_noise(candidate)
        model = task.make()
        if threads is None or self.device.type != "cpu":
            return Cost(seconds_per_image(task, model), None)
        best: Cost | None = None
        while threads:
            torch.set_num_threads(threads)
            found = Cost(seconds_per_image(task, model), threads)
            if best is not None and found.seconds > FASTER * best.seconds:
                break
            best, threads = found, threads // 2
        assert best is not None
        return best

    def passes(self, candidate: Candidate) -> float:
        """Return what an image costs a candidate, in forward and backward passes of its network."""
        task = self._on_noise(candidate)
        return task.passes(task.make())

    def _on_noise(self, candidate: Candidate) -> Supervised:
        """Return the training of a candidate, its settings decided without reading an image."""
        size = self.raw.image_size if candidate.image_size is None else (candidate.image_size,) * 2
        grey = (0.5,) * self.raw.channels
        task = Supervised.read(
            self.config(candidate), replace(self.raw, image_size=size, mean=grey, std=grey)
        )
        task.decide(self.device)
        return task
