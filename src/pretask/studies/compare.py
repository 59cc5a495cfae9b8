"""Studies of training with labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from rich.console import Console

from pretask import tasks
from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.studies.execution import ONE_AT_A_TIME, Execution
from pretask.studies.plan import Cell, Variant, unit_of
from pretask.studies.rows import Done, Score
from pretask.studies.study import Study
from pretask.studies.trials import Trial
from pretask.tasks import Supervised
from pretask.training.data import build_data, fix_version, unsplit_data
from pretask.training.guest import as_guest

METRICS = ("top1", "top5", "balanced", "many", "medium", "few", "ece", "loss")


@as_guest()
def compare(
    config: RunConfig,
    methods: tuple[str, ...],
    seeds: int = 3,
    equal_compute: bool = False,
    execution: Execution = ONE_AT_A_TIME,
    data: ImageData | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run a study, or resume one that was stopped: finished runs are read, started ones continued.

    Args:
        config: what all runs share; its method is replaced by each of `methods`, its seed is the first.
        methods: names, the baseline among them for differences to it; each may have settings of its own, as in
            "gssl:gate=frozen:pretext_weight=0.3".
        seeds: runs per method.
        equal_compute: also give cheaper methods the passes of the most expensive one.
        execution: where runs are made, and how many at a time.
        data: unsplit data in place of what the configuration names.
        console: for progress and the table.

    Returns:
        the content of `study.json`, with "folder": its "rows" are those of `summarise`, its "failures" a line for
        each run that failed.

    Raises:
        PretaskError: a plan that cannot be run. Runs that fail do not stop the others.
        Interrupted: the user stopped the study.
    """
    return LabelledStudy(config, methods, seeds, data).run(equal_compute, execution, console)


class LabelledStudy(Study[RunConfig]):
    """A study of training with labels; see `compare`."""

    def __init__(
        self, config: RunConfig, methods: tuple[str, ...], seeds: int, data: ImageData | None = None
    ) -> None:
        super().__init__(fix_version(config, data), methods, seeds)
        images = unsplit_data(self.config) if data is None else data
        self._data = data
        self._shape = build_data(self.config, self._same_images(images))
        settled = Supervised(self.config, self._shape).settle()
        self.decided = (*self._shape.decisions, *settled)
        self.config = override(self.config, **{made.key: made.value for made in settled})

    @property
    def at_hand(self) -> bool:
        return self._data is not None

    @property
    def data_name(self) -> str:
        return self._shape.name

    def work(self) -> Mapping[Variant, float]:
        return work_of(self.config, self.variants, self._shape)

    def trials(self, config: RunConfig) -> list[Trial]:
        return [
            self.trial(cell.name, run, partial(_train, settings, self._data), [run.path])
            for cell, (settings, run) in self.cells(config).items()
        ]

    def done(self, results: Mapping[Cell, dict[str, Any]]) -> dict[Cell, Done]:
        return {cell: Done.of(cell, found, scores_of(found)) for cell, found in results.items()}

    def facts(self, results: Mapping[Cell, dict[str, Any]]) -> dict[str, Any]:
        return {**super().facts(results), "per_class": self._per_class(results)}

    def _per_class(self, results: Mapping[Cell, dict[str, Any]]) -> list[dict[str, Any]]:
        """Return each class's accuracy, its mean over seeds; None where a seed has no image of it."""
        found: dict[tuple[str, str, str], list[Any]] = {}
        for cell, of_run in results.items():
            for budget in self.plan.budgets(cell):
                for inference, entry in of_run["inferences"].items():
                    own = entry["selected"]["test"].get("per_class") or ()
                    found.setdefault((budget, cell.method, inference), []).append(own)
        return [
            {
                "budget": budget,
                "method": method,
                "inference": inference,
                "accuracy": [_mean(values) for values in zip(*seeds, strict=True)],
            }
            for (budget, method, inference), seeds in found.items()
        ]


def scores_of(results: Mapping[str, Any]) -> Iterator[Score]:
    """Yield what a run's selected weights reached on test images, by each inference."""
    for inference, entry in results["inferences"].items():
        for metric in METRICS:
            value = entry["selected"]["test"].get(metric)
            if value is not None:
                yield Score("accuracy", inference, metric, value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def work_of(config: RunConfig, variants: Sequence[Variant], data: ImageData) -> dict[Variant, float]:
    """Return what each variant costs, in forward-backward passes: per image of an epoch, or per step.

    Raises:
        PretaskError: parts of a method that do not suit the data or each other; methods whose epochs pass over
            different images.
    """
    counted = {variant: _work(variant.config(config), data) for variant in variants}
    if unit_of(config) == "steps":
        return {variant: passes * images for variant, (passes, images, _) in counted.items()}
    if len({unlabelled for _, _, unlabelled in counted.values()}) > 1:
        raise PretaskError(
            "an epoch of fixmatch passes over the unlabelled images, one of other methods over the labelled ones: "
            "type --steps instead of --epochs to compare them"
        )
    return {variant: passes for variant, (passes, _, _) in counted.items()}


def _work(config: RunConfig, data: ImageData) -> tuple[float, int, bool]:
    """Return passes per image, images per step, and whether unlabelled ones are among them."""
    drawn = override(config, pretrained=False, weights=None, init=None, precision="fp32", compile="no")
    task = Supervised(drawn, data)
    task.decide(torch.device("cpu"))
    method = task.make()
    unlabelled = method.unlabelled_per_image
    return task.passes(method), task.images_per_step(method) * (1 + unlabelled), unlabelled > 0


def _train(config: RunConfig, data: ImageData | None) -> str:
    """Make one run; return a line about it."""
    results = tasks.train(config, data)
    scores = ", ".join(
        f"{name} {100 * entry['selected']['test']['top1']:.2f} %"
        for name, entry in results["inferences"].items()
    )
    return f"test {scores} ({results['seconds']:.0f} s)"
