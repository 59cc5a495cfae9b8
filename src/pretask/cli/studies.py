"""Commands that train many models and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pretask.cli.app import app, fail_if_runs_failed, open_console
from pretask.cli.flags import EXECUTION, Settings, takes_settings
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.studies.execution import ONE_AT_A_TIME, Execution

_NONE = Settings()


@app.command
def demo(*, seeds: int = 3, runs: str = "demo", jobs: int = 2) -> None:
    """Compare baseline, da, mt and sla on embedded digits with few labels, and write a report.

    Parameters
    ----------
    seeds
        runs per method
    runs
        folder for the study and its report
    jobs
        runs at a time
    """
    from pretask.studies.demo import run_demo

    run_demo(seeds=seeds, folder=Path(runs), jobs=jobs, console=open_console())


@app.command
@takes_settings(RunConfig)
def compare(
    *,
    methods: tuple[str, ...] = ("baseline", "da", "mt", "sla", "sla-sd"),
    seeds: int = 3,
    equal_compute: bool = False,
    execution: Annotated[Execution, EXECUTION] = ONE_AT_A_TIME,
    settings: Settings = _NONE,
) -> None:
    """Compare methods over seeds on the same splits. The same command resumes a study that was stopped.

    Parameters
    ----------
    methods
        names of methods, each with settings of its own where wanted, as in sla:pretexts=color or
        gssl:gate=frozen:pretext_weight=0.3; differences are to the baseline
    seeds
        runs per method
    equal_compute
        also train cheaper methods longer, up to the passes of the most expensive one
    """
    from pretask.studies.compare import compare as run_study

    config = settings.build(RunConfig, methods)
    fail_if_runs_failed(run_study(config, methods, seeds, equal_compute, execution, console=open_console()))


@app.command
def table(
    runs: Path,
    *,
    format: Literal["terminal", "markdown", "csv", "html"] | None = None,
    reference: str | None = None,
    metric: str | None = None,
) -> None:
    """Print the tables of a study from its runs.csv: means, paired differences and costs over its seeds.

    Parameters
    ----------
    runs
        runs.csv of a study, or the study's folder; a CSV of other columns is printed as it stands
    format
        terminal in a terminal, markdown elsewhere; html is a whole page
    reference
        the method that others are compared with; the baseline, or the first, unless given
    metric
        what is compared, as the column of that name has it; the first of each protocol unless given
    """
    from pretask.reports.table import print_tables, write_tables
    from pretask.studies.rows import tables_of

    console = open_console()
    made = tables_of(runs, reference, metric)
    kind = format or ("terminal" if console.is_terminal else "markdown")
    if kind == "terminal":
        print_tables(made, console)
    else:
        console.out(write_tables(made, kind, runs.name).rstrip("\n"), highlight=False)


@app.command
@takes_settings(PretrainConfig, controls=("random", "supervised"))
def compare_pretraining(
    *,
    methods: tuple[str, ...] = ("simclr", "trimix", "random", "supervised"),
    protocols: tuple[str, ...] = ("knn", "linear"),
    label_fractions: tuple[float, ...] = (0.01, 0.1),
    transfer: tuple[str, ...] = (),
    tuning: Path | None = None,
    metric: str = "top1",
    seeds: int = 3,
    equal_compute: bool = False,
    execution: Annotated[Execution, EXECUTION] = ONE_AT_A_TIME,
    settings: Settings = _NONE,
) -> None:
    """Compare pre-trainings over seeds by probes and by fine-tuning. The same command resumes a stopped study.

    Parameters
    ----------
    methods
        names of pre-trainings, each with settings of its own where wanted, as in trimix:consistency_weight=0;
        differences are to the first of them. random and supervised are controls: no training, and all labels
    protocols
        evaluators on features, each with options of its own where wanted, as in knn:k=5
    label_fractions
        shares of each class's labels to fine-tune with
    transfer
        other data to ask the same on
    tuning
        YAML file of settings of `pretask train` for fine-tuning and for supervised; data and start are the study's
    metric
        what is compared, a metric of all evaluators: top1, the share of right answers; balanced, the same averaged over
        classes; macro_f1, which class heads do not have; or one of an evaluator of your own
    seeds
        runs per method
    equal_compute
        also train cheaper methods longer, up to the passes of the most expensive one
    """
    from pretask.io.documents import read_yaml
    from pretask.studies.judging import Judging, tuning_config
    from pretask.studies.pretraining import CONTROLS
    from pretask.studies.pretraining import compare_pretraining as run_study

    tuned = tuning_config({} if tuning is None else read_yaml(tuning), str(tuning))
    judging = Judging(protocols, label_fractions, transfer, tuned, metric)
    config = settings.build(PretrainConfig, [name for name in methods if name not in CONTROLS])
    fail_if_runs_failed(run_study(config, methods, judging, seeds, equal_compute, execution, open_console()))


@app.command
@takes_settings(FewShotConfig)
def compare_few_shot(
    *,
    methods: tuple[str, ...] = ("prototypes", "prototypes:pretexts=rotation"),
    seeds: int = 3,
    equal_compute: bool = False,
    execution: Annotated[Execution, EXECUTION] = ONE_AT_A_TIME,
    settings: Settings = _NONE,
) -> None:
    """Compare trainings by episodes over seeds, on the same episodes. The same command resumes a stopped study.

    Parameters
    ----------
    methods
        heads, each with settings of its own where wanted, as in ridge:pretexts=rotation; differences are to the first
    seeds
        runs per method
    equal_compute
        also train cheaper methods longer, up to the passes of the most expensive one
    """
    from pretask.studies.few_shot import compare_few_shot as run_study

    config = settings.build(FewShotConfig, methods)
    fail_if_runs_failed(run_study(config, methods, seeds, equal_compute, execution, open_console()))
