"""Commands about what is here: names that can be typed, and what the machine does."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pretask.cli.app import app, open_console, print_lines
from pretask.cli.flags import Settings, takes_settings
from pretask.config.sections import RunConfig

_NONE = Settings()


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
        "explanations",
        "executors",
        "options",
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
    from pretask.cli.catalogue import entries

    print_lines(entries(what), open_console())


@app.command
@takes_settings(RunConfig)
def speed(
    *,
    methods: tuple[str, ...] = ("baseline", "sla"),
    rounds: int = 5,
    per_round: int = 4,
    plain: bool = True,
    own_data: bool = False,
    json: Path | None = None,
    settings: Settings = _NONE,
) -> None:
    """Time training steps on this machine, against its ceilings and against a plain loop.

    Parameters
    ----------
    methods
        as in a study; the first is what others are compared with
    rounds
        how often each piece is timed, in turn with the others
    per_round
        steps in each
    plain
        time the plain loop and its loader too
    own_data
        train on --data instead of made-up images of --image-size, 32 pixels where not given
    json
        file to write all numbers to
    """
    from pretask.io.files import write_json
    from pretask.speed.measure import measure_speed
    from pretask.speed.table import print_speed

    console = open_console()
    found = measure_speed(
        settings.build(RunConfig, methods), methods, rounds, per_round, plain, own_data, console
    )
    print_speed(found, console)
    if json is not None:
        write_json(json, found)
