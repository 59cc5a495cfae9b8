"""What all trainings of a job share: data at each size, the configuration of a candidate, what a step takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.fitting.plan import LARGEST, NETWORKS, TUNED_SIZES, Candidate
from pretask.studies.plan import Variant
from pretask.tasks import Supervised
from pretask.tasks.foresee import foresee
from pretask.training.data import unsplit_data
from pretask.training.foresight import Expected


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
        self._sized: dict[int, ImageData] = {}

    def data(self, size: int | None) -> ImageData:
        """Return the data at a size, unsplit: read as a training of its own reads it."""
        if size is None:
            return self.raw
        if self.given is not None:
            return replace(self.given, image_size=(size, size))
        if size not in self._sized:
            self._sized[size] = unsplit_data(override(self.base, image_size=size))
        return self._sized[size]

    def splits(self, size: int | None) -> ImageData:
        """Return the data at a size, split as the configuration has it."""
        return Supervised.read(self.base, self.data(size)).data

    def networks(self) -> list[Candidate]:
        """Return the networks and sizes that could be tried, with the first way of learning."""
        asked, native = self.base.backbone, min(self.raw.image_size)
        known = list(NETWORKS)
        if asked.published:
            known = [(asked.backbone, size) for size in TUNED_SIZES]
        elif asked.backbone != "auto":
            known = [(asked.backbone, size) for size in sorted({size for _, size in NETWORKS})]
        fixed = self.base.data.image_size is not None or native <= min(size for _, size in known)
        pairs = [(name, None if fixed else size) for name, size in known if fixed or size <= native]
        way = next(iter(self.variants))
        return [Candidate(name, size, way) for name, size in dict.fromkeys(pairs)]

    def config(self, candidate: Candidate, **more: Any) -> RunConfig:
        """Return the configuration of a training of a candidate."""
        size = {} if candidate.image_size is None else {"image_size": candidate.image_size}
        config = override(self.variants[candidate.way].config(self.base), **size)
        if config.backbone.backbone == "auto":
            config = override(config, backbone=candidate.backbone)
        return override(config, **more)

    def expected(self, candidate: Candidate) -> Expected | None:
        """Return what a training of a candidate takes; None where it does not fit into memory."""
        task = Supervised.read(self.config(candidate), self.data(candidate.image_size))
        task.decide(self.device)
        try:
            return foresee(task, task.build())
        except PretaskError:
            return None
