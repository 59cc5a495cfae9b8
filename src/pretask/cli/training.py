"""Commands that train one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pretask.cli.app import app, open_console, print_lines
from pretask.cli.flags import FewShotFlags, PretrainFlags, RunFlags
from pretask.config.sections import RunConfig
from pretask.errors import PretaskError

_DEFAULTS = RunFlags()
_PRETRAIN_DEFAULTS = PretrainFlags()
_FEW_SHOT_DEFAULTS = FewShotFlags()


@app.command
def train(
    *,
    resume: Annotated[
        Path | None,
        Parameter(help="go on with this run folder of any kind, whose settings are taken; no other flags"),
    ] = None,
    settings: RunFlags = _DEFAULTS,
) -> None:
    """Train one model. The same command goes on with a run that was stopped."""
    from pretask import tasks
    from pretask.cli.results_text import run_lines

    console, run = open_console(), settings.run_config()
    if resume is None:
        results = tasks.train(run, console=console)
    elif run == RunConfig():
        results = tasks.resume(resume, console)
    else:
        raise PretaskError(
            f"--resume {resume} takes all settings from that folder: type it without other flags"
        )
    print_lines(run_lines(results), console)


@app.command
def pretrain(*, settings: PretrainFlags = _PRETRAIN_DEFAULTS) -> None:
    """Train a backbone without labels, for `train --init`. The same command goes on with a run that was stopped."""
    from pretask import tasks
    from pretask.cli.results_text import run_lines

    console = open_console()
    results = tasks.pretrain(settings.pretrain_config(), console=console)
    print_lines(run_lines(results), console)


@app.command
def few_shot(*, settings: FewShotFlags = _FEW_SHOT_DEFAULTS) -> None:
    """Train by episodes of a few classes, and try it on new ones. The same command goes on with a stopped run."""
    from pretask import tasks
    from pretask.cli.results_text import run_lines

    console = open_console()
    results = tasks.train_few_shot(settings.few_shot_config(), console=console)
    print_lines(run_lines(results), console)
