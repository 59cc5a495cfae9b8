"""A study: methods x seeds on the same splits, at equal length and at equal compute."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from pretask import experiment
from pretask.data import ImageData
from pretask.evaluation.accuracy import Accuracy
from pretask.reports import write_study_report
from pretask.studies.execute import Trial, check_jobs, execute, share_threads
from pretask.studies.folder import (
    announce,
    open_cells,
    provenance,
    read_finished,
    study_folder,
    write_study,
)
from pretask.studies.plan import Plan, check_seeds, make_plan
from pretask.studies.summary import curve, rows
from pretask.studies.table import markdown_table, print_table
from pretask.studies.variants import parse_variants
from pretask.studies.work import work_of
from pretask.training.build import build_data, split_data
from pretask.training.config import RunConfig
from pretask.training.ranges import check_ranges


def compare(
    config: RunConfig,
    methods: tuple[str, ...],
    seeds: int = 3,
    equal_compute: bool = False,
    jobs: int = 1,
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
        jobs: runs at a time.
        data: unsplit data in place of what the configuration names.
        console: for progress and the table.

    Returns:
        the content of `study.json`, with "folder" and "failures".

    Raises:
        PretaskError: a plan that cannot be run. Runs that fail do not stop the others.
        Interrupted: the user stopped the study.
    """
    check_ranges(config)
    check_seeds(seeds)
    check_jobs(jobs, at_hand=data is not None)
    variants = parse_variants(methods, config)
    shape = split_data(data, config) if data is not None else build_data(config)
    work = work_of(config, variants, shape)
    plan = make_plan(config, variants, seeds, work if equal_compute else None)
    folder = study_folder(config.session, f"compare-{shape.name}")
    trials = [
        Trial(cell.name, run.finished, partial(_train, settings, data))
        for cell, (settings, run) in open_cells(plan, share_threads(config, jobs), folder).items()
    ]
    announce(console, plan, folder, len(trials), sum(trial.finished for trial in trials))
    failures = execute(trials, jobs, console)

    study = {**collect(plan, folder, config), "failures": failures}
    if console is not None:
        print_table(study, console)
    return write_study(study, folder, markdown_table(study), write_study_report, console)


def collect(plan: Plan, folder: Path, config: RunConfig) -> dict[str, Any]:
    """Return the study's content from the run folders that are finished.

    Raises:
        PretaskError: none is.
    """
    finished = read_finished(plan, folder)
    results = {cell: content for cell, (_, content) in finished.items()}
    any_result = next(iter(results.values()))
    return {
        "name": folder.name,
        **provenance(config.session),
        "data": any_result["data"],
        "backbone": any_result["backbone"],
        "protocol": Accuracy("test").protocol,
        "selection": any_result["selection"],
        "seeds": list(plan.seeds),
        "reference": plan.reference.name,
        "unit": plan.unit,
        "rows": rows(plan, results),
        "curves": [
            curve(cell, run.read_metrics(), plan.budgets(cell)) for cell, (run, _) in finished.items()
        ],
    }


def _train(config: RunConfig, data: ImageData | None) -> str:
    """Make one run; return a line about it."""
    results = experiment.train(config, data)
    scores = ", ".join(
        f"{name} {100 * figures['selected']['test']['top1']:.2f} %"
        for name, figures in results["inferences"].items()
    )
    return f"test {scores} ({results['seconds']:.0f} s)"
