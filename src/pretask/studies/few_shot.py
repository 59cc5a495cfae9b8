"""A study of training by episodes: heads and pretexts x seeds, asked the same episodes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from pretask import few_shot_run
from pretask.reports.score_report import write_score_report
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
from pretask.studies.score_table import markdown_scores, print_scores
from pretask.studies.scores import Scored, score_rows
from pretask.studies.summary import curve
from pretask.studies.variants import parse_variants
from pretask.training.build_episodes import build_class_split, build_episodic
from pretask.training.episodes_config import FewShotConfig
from pretask.training.ranges import check_ranges


def compare_few_shot(
    config: FewShotConfig,
    methods: tuple[str, ...],
    seeds: int = 3,
    equal_compute: bool = False,
    jobs: int = 1,
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
        jobs: runs at a time.
        console: for progress and the table.

    Returns:
        the content of `study.json`, with "folder" and "failures".

    Raises:
        PretaskError: a plan that cannot be run. Runs that fail do not stop the others.
        Interrupted: the user stopped the study.
    """
    check_ranges(config)
    check_seeds(seeds)
    check_jobs(jobs, at_hand=False)
    variants = parse_variants(methods, config)
    split = build_class_split(config)
    work = {v: float(build_episodic(v.config(config), split).views) for v in variants}
    plan = make_plan(config, variants, seeds, work if equal_compute else None)
    folder = study_folder(config.session, f"compare-few-shot-{split.train.name}")
    trials = [
        Trial(cell.name, run.finished, partial(_train, settings))
        for cell, (settings, run) in open_cells(plan, share_threads(config, jobs), folder).items()
    ]
    announce(console, plan, folder, len(trials), sum(trial.finished for trial in trials))
    failures = execute(trials, jobs, console)

    study = {**collect(plan, folder, config), "failures": failures}
    if console is not None:
        print_scores(study, console)
    return write_study(study, folder, markdown_scores(study), write_score_report, console)


def collect(plan: Plan, folder: Path, config: FewShotConfig) -> dict[str, Any]:
    """Return the study's content from the run folders that are finished.

    Raises:
        PretaskError: none is.
    """
    finished = read_finished(plan, folder)
    found = {
        cell: Scored(_scores(results), results["seconds"], results["work_images"], cell.length)
        for cell, (_, results) in finished.items()
    }
    any_result = next(iter(finished.values()))[1]
    return {
        "name": folder.name,
        **provenance(config.session),
        "data": any_result["data"],
        "backbone": any_result["backbone"],
        "protocol": any_result["protocol"],
        "metric": "accuracy",
        "selection": any_result["selection"],
        "seeds": list(plan.seeds),
        "reference": plan.reference.name,
        "unit": plan.unit,
        "rows": score_rows(plan, found),
        "curves": [
            curve(cell, run.read_metrics(), plan.budgets(cell)) for cell, (run, _) in finished.items()
        ],
    }


def _scores(results: dict[str, Any]) -> dict[str, float]:
    """Return the default answer's accuracy and that of one view; they are the same where there is one view."""
    figures = results["few_shot"]
    return {"default": next(iter(figures.values()))["top1"], "single": figures["single"]["top1"]}


def _train(config: FewShotConfig) -> str:
    """Make one run; return a line about it."""
    results = few_shot_run.train_few_shot(config)
    scores = ", ".join(f"{name} {100 * f['top1']:.2f} %" for name, f in results["few_shot"].items())
    return f"test {scores} ({results['seconds']:.0f} s)"
