"""Studies of training by episodes: heads and pretexts x seeds, asked the same episodes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from rich.console import Console

from pretask import tasks
from pretask.config.sections import FewShotConfig
from pretask.studies.execution import ONE_AT_A_TIME, Execution
from pretask.studies.plan import Cell, Variant
from pretask.studies.rows import Done, Score
from pretask.studies.study import Study
from pretask.studies.trials import Trial
from pretask.training.guest import as_guest


@as_guest()
def compare_few_shot(
    config: FewShotConfig,
    methods: tuple[str, ...],
    seeds: int = 3,
    equal_compute: bool = False,
    execution: Execution = ONE_AT_A_TIME,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run a study of training by episodes; all but `methods` is as in `compare`.

    A seed has its own share-out of classes, unless `split_seed` fixes it, and its own test episodes, which depend on
    the test classes alone: all methods of a seed are asked the same.

    Args:
        methods: heads, with settings of their own where wanted, as in "prototypes:pretexts=rotation"; differences are
            to the first.
    """
    return FewShotStudy(config, methods, seeds).run(equal_compute, execution, console)


class FewShotStudy(Study[FewShotConfig]):
    """A study of training by episodes; see `compare_few_shot`."""

    prefix: ClassVar[str] = "compare-few-shot"

    def __init__(self, config: FewShotConfig, methods: tuple[str, ...], seeds: int) -> None:
        super().__init__(config, methods, seeds)
        self._split = self._same_images(tasks.Episodes.read(self.config).data)

    @property
    def data_name(self) -> str:
        return self._split.train.name

    def work(self) -> Mapping[Variant, float]:
        return {
            v: float(tasks.Episodes(v.config(self.config), self._split).make().views) for v in self.variants
        }

    def trials(self, config: FewShotConfig) -> list[Trial]:
        return [
            self.trial(cell.name, run, partial(_train, settings), [run.path])
            for cell, (settings, run) in self.cells(config).items()
        ]

    def done(self, results: Mapping[Cell, dict[str, Any]]) -> dict[Cell, Done]:
        return {cell: Done.of(cell, found, scores_of(found)) for cell, found in results.items()}


def scores_of(results: Mapping[str, Any]) -> list[Score]:
    """Return what a run reached in test episodes, by each inference."""
    return [Score("few-shot", name, "top1", found["top1"]) for name, found in results["few_shot"].items()]


def _train(config: FewShotConfig) -> str:
    """Make one run; return a line about it."""
    results = tasks.train_few_shot(config)
    scores = ", ".join(f"{name} {100 * f['top1']:.2f} %" for name, f in results["few_shot"].items())
    return f"test {scores} ({results['seconds']:.0f} s)"
