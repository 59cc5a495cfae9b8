"""The command for the whole job."""

from __future__ import annotations

from typing import Annotated

from pretask.cli.app import app, open_console
from pretask.cli.flags import EXECUTION, Settings, takes_settings
from pretask.config.sections import RunConfig
from pretask.errors import PretaskError
from pretask.studies.execution import ONE_AT_A_TIME, Execution

_NONE = Settings()


@app.command
@takes_settings(RunConfig)
def fit(
    photos: str,
    *,
    time: str | None = None,
    methods: tuple[str, ...] = (),
    execution: Annotated[Execution, EXECUTION] = ONE_AT_A_TIME,
    settings: Settings = _NONE,
) -> None:
    """Make the best classifier of your pictures that the time allows. The same command resumes a stopped job.

    It looks at the pictures, measures this machine, lets networks and ways of learning race on validation images,
    trains the winner with the rest of the time, and judges it once on the test images.

    Parameters
    ----------
    photos
        what --data of `pretask train` takes: a folder of class folders, a CSV of files and labels, …
    time
        for everything, as in 30m, 1h30m or 90s; chosen by the number of pictures where not given
    methods
        ways of learning to try, as in `pretask compare`; baseline, lorot, sla-fast and sla-fast with colours
    """
    from pretask.fitting import fit as run_job
    from pretask.fitting.plan import WAYS, seconds_of
    from pretask.training.device import process_started

    ways = methods or WAYS
    config = settings.build(RunConfig, ways)
    standard = RunConfig()
    if config.method.method != standard.method.method:
        raise PretaskError(f"fit tries several methods: type --methods baseline {config.method.method}")
    if config.data.data != standard.data.data:
        raise PretaskError(f"fit takes its pictures without a flag: type `pretask fit {config.data.data}`")
    seconds = None if time is None else seconds_of(time)
    run_job(photos, seconds, ways, config, execution, open_console(), process_started())
