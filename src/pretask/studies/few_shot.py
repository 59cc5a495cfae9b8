"""Studies of training by episodes: heads and pretexts x seeds, asked the same episodes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from rich.console import Console

from pretask import tasks
from pretask.config.sections import FewShotConfig
from pretask.studies.execution import ONE_AT_A_TIME, Execution
from pretask.studies.score_study import ScoreStudy
from pretask.studies.scores import Scored, score_rows
from pretask.studies.trials import Trial
from pretask.studies.variants import Variant


def compare_few_shot(
    config: FewShotConfig,
    methods: tuple[str, ...],
    seeds: int = 3,
    equal_compute: bool = False,
    execution: Execution = ONE_AT_A_TIME,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run a study of training by episodes, or go on with one that was stopped.

    A seed has its own share-out of classes, unless `split_seed` fixes it, and its own test episodes, which depend on
    the test classes alone: all methods of a seed are asked the same.

    Args:
        config: what all runs share; its head is replaced by each of `methods`, its seed is the first.
        methods: heads, with settings of their own where wanted, as in "prototypes:pretexts=rotation"; differences are
            to the first.
        seeds: runs per method.
        equal_compute: also give cheaper methods the passes of the dearest one.
        execution: where runs are made, and how many at a time.
        console: for progress and the table.

    Returns:
        the content of `study.json`, with "folder" and "failures".

    Raises:
        PretaskError: a plan that cannot be run. Runs that fail do not stop the others.
        Interrupted: the user stopped the study.
    """
    return FewShotStudy(config, methods, seeds).run(equal_compute, execution, console)


class FewShotStudy(ScoreStudy[FewShotConfig]):
    """A study of training by episodes; see `compare_few_shot`."""

    prefix: ClassVar[str] = "compare-few-shot"

    def __init__(self, config: FewShotConfig, methods: tuple[str, ...], seeds: int) -> None:
        super().__init__(config, methods, seeds)
        self._split = tasks.Episodes.read(self.config).data

    @property
    def data_name(self) -> str:
        return self._split.train.name

    def work(self) -> Mapping[Variant, float]:
        return {
            v: float(tasks.Episodes(v.config(self.config), self._split).build().views) for v in self.variants
        }

    def trials(self, config: FewShotConfig) -> list[Trial]:
        return [
            self.trial(cell.name, run, partial(_train, settings), [run.path])
            for cell, (settings, run) in self.cells(config).items()
        ]

    def collect(self) -> dict[str, Any]:
        finished = {cell: results for cell, (_, results) in self.finished().items()}
        found = {
            cell: Scored(_scores(results), results["seconds"], results["work_images"], cell.length)
            for cell, results in finished.items()
        }
        any_result = next(iter(finished.values()))
        return {
            "data": any_result["data"],
            "backbone": any_result["backbone"],
            "protocol": any_result["protocol"],
            "metric": "accuracy",
            "selection": any_result["selection"],
            "rows": score_rows(self.plan, found),
            "curves": self.curves(),
        }


def _scores(results: dict[str, Any]) -> dict[str, float]:
    """Return the default answer's accuracy and that of one view; they are the same where there is one view."""
    figures = results["few_shot"]
    return {"default": next(iter(figures.values()))["top1"], "single": figures["single"]["top1"]}


def _train(config: FewShotConfig) -> str:
    """Make one run; return a line about it."""
    results = tasks.train_few_shot(config)
    scores = ", ".join(f"{name} {100 * f['top1']:.2f} %" for name, f in results["few_shot"].items())
    return f"test {scores} ({results['seconds']:.0f} s)"
