"""A study of pre-training: objectives x seeds, each judged by probes and by fine-tuning with few labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from pretask import experiment, pretraining_run
from pretask.pretraining_run import save_untrained
from pretask.reports.score_report import write_score_report
from pretask.studies.execute import Trial, check_jobs, execute, share_threads
from pretask.studies.folder import announce, open_cells, provenance, read_finished, study_folder, write_study
from pretask.studies.judging import Asked, Judging, head_score
from pretask.studies.plan import Cell, Plan, check_seeds, make_plan
from pretask.studies.score_table import markdown_scores, print_scores
from pretask.studies.scores import Extra, Scored, score_rows
from pretask.studies.summary import curve
from pretask.studies.variants import parse_variants
from pretask.training.build import build_data
from pretask.training.build_pretraining import build_objective, resolve_pretraining
from pretask.training.config_files import override, to_flat
from pretask.training.device import resolve_device
from pretask.training.pretrain_config import PretrainConfig
from pretask.training.ranges import check_ranges
from pretask.training.run_folder import RunFolder

RANDOM, SUPERVISED = "random", "supervised"
CONTROLS = (RANDOM, SUPERVISED)
TUNING_FACTS = (
    "method", "epochs", "steps", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "augment", "selection",
)  # fmt: skip
_SHARED_WITH_LABELS = (
    "data", "data_root", "image_size", "channels", "skip_bad", "validation", "per_class", "label_fraction",
    "split_seed", "loader", "workers", "backbone", "device", "threads",
)  # fmt: skip


def compare_pretraining(
    config: PretrainConfig,
    methods: tuple[str, ...],
    judging: Judging,
    seeds: int = 3,
    equal_compute: bool = False,
    jobs: int = 1,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run a study of pre-training, or go on with one that was stopped: what is on disk is read, not made again.

    Args:
        config: what all runs share; its method is replaced by each of `methods`, its seed is the first.
        methods: objectives, with settings of their own where wanted, as in "trimix:consistency_weight=0"; differences
            are to the first of them. "random" (the weights a run begins with) and "supervised" (a training with all
            labels, as `judging.tuning` has it, for as many epochs) are controls.
        judging: what every backbone is asked.
        seeds: runs per method.
        equal_compute: also give cheaper objectives the passes of the dearest one.
        jobs: runs at a time.
        console: for progress and the table.

    Returns:
        the content of `study.json`, with "folder" and "failures".

    Raises:
        PretaskError: a plan that cannot be run. Runs that fail do not stop the others.
        Interrupted: the user stopped the study.
    """
    check_ranges(config)
    check_ranges(judging.tuning)
    check_seeds(seeds)
    check_jobs(jobs, at_hand=False)
    judging.check()
    controls = [name for name in CONTROLS if name in methods]
    variants = parse_variants([name for name in methods if name not in CONTROLS], config)
    data = build_data(config)
    resolved = {
        v: resolve_pretraining(v.config(config), data, resolve_device(config.session.device))
        for v in variants
    }
    work = {v: build_objective(asked, data).passes_per_image for v, asked in resolved.items()}
    plan = make_plan(config, variants, seeds, work if equal_compute else None)
    folder = study_folder(config.session, f"compare-pretraining-{data.name}")
    shared = share_threads(config, jobs)
    runs = {
        cell: Candidate(
            Asked(run.path, settings, cell.seed, judging), partial(pretraining_run.pretrain, settings)
        )
        for cell, (settings, run) in open_cells(plan, shared, folder).items()
    }
    beside = {
        (name, seed): _control(name, seed, plan, shared, folder, judging)
        for seed in plan.seeds
        for name in controls
    }
    trials = [
        Trial(candidate.asked.folder.name, candidate.finished, partial(_make_and_judge, candidate))
        for candidate in sorted(
            (*beside.values(), *runs.values()), key=lambda candidate: candidate.asked.seed
        )
    ]
    announce(console, plan, folder, len(trials), sum(trial.finished for trial in trials))
    failures = execute(trials, jobs, console)

    study = {**_collect(plan, folder, config, runs, beside, judging), "failures": failures}
    if console is not None:
        print_scores(study, console)
    return write_study(study, folder, markdown_scores(study), write_score_report, console)


@dataclass(frozen=True)
class Candidate:
    """A backbone of a study.

    Attributes:
        asked: what it is asked, and where it lies.
        make: trains it, or goes on with that.
    """

    asked: Asked
    make: Callable[[], dict[str, Any]]

    @property
    def finished(self) -> bool:
        """Whether it is trained and has answered all that it is asked."""
        return RunFolder(self.asked.folder).finished and self.asked.finished

    def scored(self) -> tuple[Scored, dict[str, str]]:
        """Return what it reached and cost, and the protocol of each column."""
        results = RunFolder(self.asked.folder).read_results()
        scores, protocols = self.asked.scores()
        if results["inferences"]:
            scores["own head"] = head_score(results, self.asked.judging.metric)
            protocols["own head"] = results["protocol"]
        return Scored(scores, results["seconds"], results["work_images"], results["epochs"]), protocols


def _make_and_judge(candidate: Candidate) -> str:
    """Train a backbone and ask it; return a line about it."""
    seconds = candidate.make()["seconds"]
    candidate.asked.answer()
    told = ", ".join(f"{name} {100 * score:.2f} %" for name, score in candidate.scored()[0].scores.items())
    return f"{told} ({seconds:.0f} s)"


def _control(
    name: str, seed: int, plan: Plan, config: PretrainConfig, folder: Path, judging: Judging
) -> Candidate:
    """Return the backbone of a control."""
    length = plan.lengths[plan.equal_length][plan.reference]
    place = f"{name}-seed{seed}" if name == RANDOM else f"{name}-{plan.unit}{length}-seed{seed}"
    settings = override(config, seed=seed, name=place, runs=str(folder))
    if name == RANDOM:
        return Candidate(Asked(folder / place, settings, seed, judging), partial(save_untrained, settings))
    flat = to_flat(config)
    labelled = override(
        judging.tuning, **{key: flat[key] for key in _SHARED_WITH_LABELS},
        **{"epochs": 1, "steps": None, plan.unit: length}, method="baseline", seed=seed, name=place, runs=str(folder),
    )  # fmt: skip
    asked = Asked(folder / place, settings, seed, judging, own_labels=False)
    return Candidate(asked, partial(experiment.train, labelled))


def _collect(
    plan: Plan,
    folder: Path,
    config: PretrainConfig,
    runs: Mapping[Cell, Candidate],
    beside: Mapping[tuple[str, int], Candidate],
    judging: Judging,
) -> dict[str, Any]:
    """Return the study's content from the backbones that are finished.

    Raises:
        PretaskError: none is.
    """
    done = {cell: candidate.scored() for cell, candidate in runs.items() if candidate.finished}
    known = {key: candidate.scored()[0] for key, candidate in beside.items() if candidate.finished}
    finished = read_finished(plan, folder)
    extras = [
        Extra(name, {seed: scored for (of, seed), scored in known.items() if of == name})
        for name in dict.fromkeys(of for of, _ in beside)
    ]
    any_result = next(iter(finished.values()))[1]
    return {
        "name": folder.name,
        **provenance(config.session),
        "data": any_result["data"],
        "backbone": any_result["backbone"],
        "protocol": next(iter(done.values()))[1] if done else {},
        "metric": {"top1": "top-1", "balanced": "balanced accuracy"}[judging.metric],
        "tuning": {k: v for k, v in to_flat(judging.tuning).items() if k in TUNING_FACTS},
        "selection": "last",
        "validation": "Share of validation images whose 20 nearest training images name the right class.",
        "seeds": list(plan.seeds),
        "reference": plan.reference.name,
        "unit": plan.unit,
        "rows": score_rows(plan, {cell: scored for cell, (scored, _) in done.items()}, extras),
        "curves": [
            curve(cell, run.read_metrics(), plan.budgets(cell)) for cell, (run, _) in finished.items()
        ],
    }
