"""A study: methods x seeds on the same splits, at equal epochs and at equal compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.evaluation.accuracy import Accuracy
from pretask.files import write_atomically, write_json
from pretask.reports import write_study_report
from pretask.studies.execute import execute
from pretask.studies.plan import Plan, cell_config, check_plan, make_plan
from pretask.studies.summary import curve, rows
from pretask.studies.table import markdown_table, print_table
from pretask.studies.variants import parse_variants
from pretask.training.build import build_data, split_data
from pretask.training.config import RunConfig
from pretask.training.device import hardware, resolve_device
from pretask.training.ranges import check_ranges
from pretask.training.run_folder import RunFolder, describe_environment


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
    check_plan(config, seeds)
    variants = parse_variants(methods, config)
    shape = split_data(data, config) if data is not None else build_data(config)
    plan = make_plan(config, variants, seeds, equal_compute, shape)
    folder = Path(config.session.runs) / (config.session.name or f"compare-{shape.name}")
    cells = plan.cells()
    configs = [cell_config(config, cell, str(folder)) for cell in cells]
    folders = [RunFolder(folder / cell.name) for cell in cells]
    for run, settings in zip(folders, configs, strict=True):
        if run.begun:
            run.open(settings)  # refuses a run of other settings, which is not this study's
    if console is not None:
        _announce(console, plan, folder, len(cells), sum(f.finished for f in folders))
    failures = execute(configs, folders, jobs, console, data)

    study = {**collect(plan, folder, config), "failures": failures}
    write_json(folder / "study.json", study)
    write_atomically(folder / "table.md", lambda path: path.write_text(markdown_table(study)))
    write_study_report(study, folder / "report.html")
    if console is not None:
        print_table(study, console)
        console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)
    return {**study, "folder": str(folder)}


def collect(plan: Plan, folder: Path, config: RunConfig) -> dict[str, Any]:
    """Return the study's content from the run folders that are finished.

    Raises:
        PretaskError: none is.
    """
    by_cell = {cell: RunFolder(folder / cell.name) for cell in plan.cells()}
    finished = {cell: run for cell, run in by_cell.items() if run.finished}
    if not finished:
        raise PretaskError(f"no run of the study in {folder} finished: see the messages above")
    results = {cell: run.read_results() for cell, run in finished.items()}
    any_result = next(iter(results.values()))
    device = resolve_device(config.session.device)
    return {
        "name": folder.name,
        **_provenance(describe_environment(hardware(device))),
        "data": any_result["data"],
        "backbone": any_result["backbone"],
        "protocol": Accuracy("test").protocol,
        "selection": any_result["selection"],
        "seeds": list(plan.seeds),
        "reference": plan.reference.name,
        "rows": rows(plan, results),
        "curves": [
            curve(
                cell,
                run.read_metrics(),
                [b for b in plan.epochs if plan.epochs[b][cell.variant] == cell.epochs],
            )
            for cell, run in finished.items()
        ],
    }


def _provenance(environment: dict[str, Any]) -> dict[str, Any]:
    return {
        "command": environment.pop("command"),
        "created": environment.pop("started"),
        "environment": environment,
    }


def _announce(console: Console, plan: Plan, folder: Path, total: int, finished: int) -> None:
    done = f", {finished} already finished" if finished else ""
    console.print(
        f"study {folder}: {len(plan.variants)} methods x {len(plan.seeds)} seeds, {total} runs{done}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
