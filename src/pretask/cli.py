"""The command line: parses, calls, prints. What a command does is one call in Python.

Heavy modules are imported inside the commands, so that help answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import cyclopts
from cyclopts import App, Parameter

from pretask.errors import Interrupted, PretaskError
from pretask.flags import FewShotFlags, PretrainFlags, RunFlags, read_defaults, refuse_fractions
from pretask.training.config import RunConfig

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES = 160
_DEFAULTS = RunFlags()
_PRETRAIN_DEFAULTS = PretrainFlags()
_FEW_SHOT_DEFAULTS = FewShotFlags()
_LISTS = Parameter(consume_multiple=True, negative_iterable=())


def _version() -> str:
    from importlib.metadata import version

    return version("pretask")


app = App(
    name="pretask",
    help="Train better image classifiers with self-supervision: the labels are yours, the extra signal is free.",
    version=_version,
    help_format="plaintext",  # Markdown would cost a fifth of the time that help takes
    default_parameter=_LISTS,
    config=(read_defaults, refuse_fractions),
    suppress_keyboard_interrupt=False,
)


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
    from pretask.demo import run_demo

    run_demo(seeds=seeds, folder=Path(runs), jobs=jobs, console=_console())


@app.command
def train(
    *,
    resume: Annotated[
        Path | None, Parameter(help="go on with this run folder, whose settings are taken; no other flags")
    ] = None,
    settings: RunFlags = _DEFAULTS,
) -> None:
    """Train one model. The same command goes on with a run that was stopped."""
    from pretask import experiment
    from pretask.results_text import results_lines

    console, run = _console(), settings.run_config()
    if resume is None:
        results = experiment.train(run, console=console)
    elif run == RunConfig():
        results = experiment.resume(resume, console)
    else:
        raise PretaskError(
            f"--resume {resume} takes all settings from that folder: type it without other flags"
        )
    _print_lines(results_lines(results), console)


@app.command
def pretrain(*, settings: PretrainFlags = _PRETRAIN_DEFAULTS) -> None:
    """Train a backbone without labels, for `train --init`. The same command goes on with a run that was stopped."""
    from pretask.pretraining_run import pretrain as run_pretraining
    from pretask.results_text import pretraining_lines

    console = _console()
    results = run_pretraining(settings.pretrain_config(), console=console)
    _print_lines(pretraining_lines(results), console)


@app.command
def few_shot(*, settings: FewShotFlags = _FEW_SHOT_DEFAULTS) -> None:
    """Train by episodes of a few classes, and try it on new ones. The same command goes on with a stopped run."""
    from pretask.few_shot_run import train_few_shot
    from pretask.results_text import few_shot_lines

    console = _console()
    results = train_few_shot(settings.few_shot_config(), console=console)
    _print_lines(few_shot_lines(results), console)


@app.command
def compare(
    *,
    methods: tuple[str, ...] = ("baseline", "da", "mt", "sla", "sla-sd"),
    seeds: int = 3,
    equal_compute: bool = False,
    jobs: int = 1,
    settings: RunFlags = _DEFAULTS,
) -> None:
    """Compare methods over seeds on the same splits. The same command goes on with a study that was stopped.

    Parameters
    ----------
    methods
        names of methods, each with settings of its own where wanted, as in sla:pretexts=color or
        gssl:gate=frozen:pretext_weight=0.3; differences are to the baseline
    seeds
        runs per method
    equal_compute
        also train cheaper methods longer, up to the passes of the dearest one
    jobs
        runs at a time, each in its own process
    """
    from pretask.studies.compare import compare as run_study

    config = settings.run_config()
    _fail_if_runs_failed(run_study(config, methods, seeds, equal_compute, jobs, console=_console()))


@app.command
def compare_pretraining(
    *,
    methods: tuple[str, ...] = ("byol", "trimix", "random", "supervised"),
    protocols: tuple[str, ...] = ("knn", "linear"),
    label_fractions: tuple[float, ...] = (0.01, 0.1),
    transfer: tuple[str, ...] = (),
    tuning: Path | None = None,
    metric: Literal["top1", "balanced"] = "top1",
    seeds: int = 3,
    equal_compute: bool = False,
    jobs: int = 1,
    settings: PretrainFlags = _PRETRAIN_DEFAULTS,
) -> None:
    """Compare pre-trainings over seeds by probes and by fine-tuning. The same command goes on with a stopped study.

    Parameters
    ----------
    methods
        names of pre-trainings, each with settings of its own where wanted, as in trimix:consistency_weight=0;
        differences are to the first of them. random and supervised are controls: no training, and all labels
    protocols
        evaluators on features
    label_fractions
        shares of each class's labels to fine-tune with
    transfer
        other data to ask the same on
    tuning
        YAML file of settings of `pretask train` for fine-tuning and for supervised; data and start are the study's
    metric
        what is compared: share of right answers, or the same averaged over classes
    seeds
        runs per method
    equal_compute
        also train cheaper methods longer, up to the passes of the dearest one
    jobs
        runs at a time, each in its own process
    """
    from pretask.studies.judging import Judging, tuning_config
    from pretask.studies.pretraining import compare_pretraining as run_study
    from pretask.training.config_files import read_yaml

    tuned = tuning_config({} if tuning is None else read_yaml(tuning), str(tuning))
    judging = Judging(protocols, label_fractions, transfer, tuned, metric)
    config = settings.pretrain_config()
    _fail_if_runs_failed(run_study(config, methods, judging, seeds, equal_compute, jobs, _console()))


@app.command
def compare_few_shot(
    *,
    methods: tuple[str, ...] = ("prototypes", "prototypes:pretexts=rotation"),
    seeds: int = 3,
    equal_compute: bool = False,
    jobs: int = 1,
    settings: FewShotFlags = _FEW_SHOT_DEFAULTS,
) -> None:
    """Compare trainings by episodes over seeds, on the same episodes. The same command goes on with a stopped study.

    Parameters
    ----------
    methods
        heads, each with settings of its own where wanted, as in ridge:pretexts=rotation; differences are to the first
    seeds
        runs per method
    equal_compute
        also train cheaper methods longer, up to the passes of the dearest one
    jobs
        runs at a time, each in its own process
    """
    from pretask.studies.few_shot import compare_few_shot as run_study

    config = settings.few_shot_config()
    _fail_if_runs_failed(run_study(config, methods, seeds, equal_compute, jobs, _console()))


@app.command
def evaluate(
    run: Path,
    /,
    *,
    protocol: tuple[str, ...] = ("accuracy",),
    inference: str | None = None,
    split: Literal["test", "validation", "train"] = "test",
    data: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    epsilon: float | None = None,
    per_class: int | None = None,
    label_fraction: float | None = None,
    seed: int | None = None,
    format: Literal["table", "json"] = "table",
) -> None:
    """Evaluate a run by one or more protocols, for each of its inferences; attacks for its default one.

    The protocols knn, linear and ridge use the features alone: they need no class head, and take data of any classes.

    Parameters
    ----------
    run
        a run folder
    protocol
        names of evaluators
    inference
        one way to answer; all that the run offers where not given, and its default one under attack
    split
        of the run's data
    data
        other data in place of the run's: with the same classes, taken as it is; of any classes, and split as for a
        training, for knn, linear and ridge
    batch_size
        images in a forward pass
    device
        auto, cpu or cuda
    epsilon
        how far an attack may go, in 255ths of the pixel range: 8 is 8/255; the protocol's own where not given
    per_class
        training images of each class that knn, linear and ridge may learn from
    label_fraction
        the same as a fraction of each class
    seed
        chooses these images; the run's own where not given
    format
        table for people, json for programs
    """
    from pretask.evaluation.run import evaluate_run
    from pretask.results_text import evaluation_lines

    figures = evaluate_run(
        run,
        protocol,
        inference,
        split,
        data,
        batch_size,
        device,
        epsilon=None if epsilon is None else epsilon / 255,
        per_class=per_class,
        label_fraction=label_fraction,
        seed=seed,
    )
    _print_lines(evaluation_lines(figures, format), _console())


@app.command
def predict(
    run: Path,
    /,
    *images: Path,
    inference: str | None = None,
    top: int = 1,
    format: Literal["table", "csv", "json"] = "table",
    skip_bad: bool = False,
    device: str = "auto",
) -> None:
    """Label images by a trained run.

    Parameters
    ----------
    run
        a run folder or an export
    images
        picture files, or folders of them
    inference
        one way to answer; the run's default where not given
    top
        classes to name for each image
    format
        table for people, csv or json for programs
    skip_bad
        leave out images that cannot be read, and say how many
    device
        auto, cpu or cuda
    """
    from rich.console import Console

    from pretask.prediction import predict as label
    from pretask.results_text import prediction_lines

    # What was left out goes to the error stream: the answers may be read by a program.
    answers = label(
        run,
        images,
        inference=inference,
        top=top,
        skip_bad=skip_bad,
        device=device,
        console=Console(stderr=True),
    )
    _print_lines(prediction_lines(answers, format), _console())


@app.command
def export(
    run: Path,
    /,
    to: Path | None = None,
    *,
    inference: str | None = None,
    format: Literal["safetensors"] = "safetensors",
) -> None:
    """Write the deployable classifier of a run with its model card.

    Parameters
    ----------
    run
        a run folder
    to
        folder to write; the run's name and inference where not given
    inference
        the way to answer; the run's default where not given
    format
        of the weights
    """
    from pretask.export import export_safetensors

    folder = export_safetensors(run, to, inference)
    _print_lines([f"wrote {folder}: model.safetensors, model.json, README.md"], _console())


@app.command(name="list")
def list_(
    what: Literal[
        "methods",
        "pretraining",
        "losses",
        "gates",
        "pretexts",
        "backbones",
        "data",
        "augmentations",
        "evaluators",
        "recipes",
    ],
    /,
) -> None:
    """List what can be named in flags and configurations.

    Parameters
    ----------
    what
        the kind of thing to list
    """
    from pretask.catalogue import entries

    _print_lines(entries(what), _console())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code: 0, 2 for a fault the user can mend, 130 when stopped."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        _fail(" ".join(str(error).split()))
    except PretaskError as error:
        _fail(str(error))
    except Interrupted as error:
        _fail(str(error), 130)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    sys.exit(0)


def _fail_if_runs_failed(study: dict[str, Any]) -> None:
    if study["failures"]:
        raise PretaskError("some runs failed: " + "; ".join(study["failures"]))


def _fail(message: str, code: int = 2) -> NoReturn:
    sys.stderr.write(f"pretask: {message}\n")
    sys.exit(code)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    # A file or pipe has no width of its own, and rich's 80 columns would cut tables short.
    return console if console.is_terminal else Console(width=_WIDTH_OF_FILES)


def _print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
