"""Studies of training with labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from pretask import tasks
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.evaluation.accuracy import Accuracy
from pretask.reports import write_study_report
from pretask.studies.execution import ONE_AT_A_TIME, Execution
from pretask.studies.study import Study
from pretask.studies.summary import rows
from pretask.studies.table import markdown_table, print_table
from pretask.studies.trials import Trial
from pretask.studies.variants import Variant
from pretask.studies.work import work_of
from pretask.training.data import build_data


def compare(
    config: RunConfig,
    methods: tuple[str, ...],
    seeds: int = 3,
    equal_compute: bool = False,
    execution: Execution = ONE_AT_A_TIME,
    data: ImageData | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run a study, or go on with one that was stopped: finished runs are read, started ones are resumed.

    Args:
        config: what all runs share; its method is replaced by each of `methods`, its seed is the first.
        methods: names, the baseline among them for differences to it; each may have settings of its own, as in
            "gssl:gate=frozen:pretext_weight=0.3".
        seeds: runs per method.
        equal_compute: also give cheaper methods the passes of the dearest one.
        execution: where runs are made, and how many at a time.
        data: unsplit data in place of what the configuration names.
        console: for progress and the table.

    Returns:
        the content of `study.json`, with "folder" and "failures".

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
        super().__init__(config, methods, seeds)
        self._data = data
        self._shape = build_data(self.config, data)

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

    def collect(self) -> dict[str, Any]:
        results = {cell: content for cell, (_, content) in self.finished().items()}
        any_result = next(iter(results.values()))
        return {
            "data": any_result["data"],
            "backbone": any_result["backbone"],
            "protocol": Accuracy("test").protocol,
            "selection": any_result["selection"],
            "rows": rows(self.plan, results),
            "curves": self.curves(),
        }

    def print_table(self, study: Mapping[str, Any], console: Console) -> None:
        print_table(study, console)

    def markdown(self, study: Mapping[str, Any]) -> str:
        return markdown_table(study)

    def write_report(self, study: dict[str, Any], path: Path) -> Path:
        return write_study_report(study, path)


def _train(config: RunConfig, data: ImageData | None) -> str:
    """Make one run; return a line about it."""
    results = tasks.train(config, data)
    scores = ", ".join(
        f"{name} {100 * figures['selected']['test']['top1']:.2f} %"
        for name, figures in results["inferences"].items()
    )
    return f"test {scores} ({results['seconds']:.0f} s)"
