"""Commands that train one model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pretask.cli.app import app, open_console, print_lines
from pretask.cli.flags import Settings, takes_settings
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.errors import PretaskError

_NONE = Settings()


@app.command
@takes_settings(RunConfig)
def train(
    *,
    resume: Annotated[
        Path | None,
        Parameter(
            help="run folder of any kind to resume, with its own settings; no flags but --data, if moved"
        ),
    ] = None,
    settings: Settings = _NONE,
) -> None:
    """Train one model. The same command resumes a run that was stopped.

    `pretask train --method NAME --help` lists the options of that method too, and of what else is chosen.
    """
    from pretask import tasks
    from pretask.cli.results_text import run_lines

    console, run, standard = open_console(), settings.build(RunConfig), RunConfig()
    if resume is None:
        results = tasks.train(run, console=console)
    elif replace(run, data=replace(run.data, data=standard.data.data)) == standard:
        moved = None if run == standard else run.data.data
        results = tasks.resume(resume, console, moved)
    else:
        raise PretaskError(
            f"--resume {resume} takes all settings from that folder: type it without other flags"
        )
    print_lines(run_lines(results), console)


@app.command
@takes_settings(PretrainConfig)
def pretrain(*, settings: Settings = _NONE) -> None:
    """Train a backbone without labels, for `train --init`. The same command resumes a run that was stopped."""
    from pretask import tasks
    from pretask.cli.results_text import run_lines

    console = open_console()
    results = tasks.pretrain(settings.build(PretrainConfig), console=console)
    print_lines(run_lines(results), console)


@app.command
@takes_settings(FewShotConfig)
def few_shot(*, settings: Settings = _NONE) -> None:
    """Train by episodes of a few classes, and try it on new ones. The same command resumes a stopped run."""
    from pretask import tasks
    from pretask.cli.results_text import run_lines

    console = open_console()
    results = tasks.train_few_shot(settings.build(FewShotConfig), console=console)
    print_lines(run_lines(results), console)
