"""The command that looks for faults in pictures and labels."""

from __future__ import annotations

from pathlib import Path

from pretask.cli.app import app, open_console


@app.command
def check(
    photos: str,
    /,
    *,
    labels: bool | None = None,
    time: str | None = None,
    group: str | None = None,
    apply: Path | None = None,
    to: Path | None = None,
    backbone: str = "auto",
    weights: str | None = None,
    image_size: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    data_root: str = "data",
) -> None:
    """Find what is wrong with pictures and labels: unreadable, odd and blurred ones, copies, leaks, doubtful labels.

    Nothing is deleted or moved. A page with pictures and a table of all findings are written.

    Parameters
    ----------
    photos
        what --data of `pretask train` takes; a folder or list without classes too
    labels
        look for labels in doubt, by training small networks; where not given, if cleanlab is installed
    time
        for that, as in 5m or 90s; chosen by the number of pictures where not given
    group
        column of a list of files that names groups which must not be parted, such as persons
    apply
        a .csv to write: files, labels and splits without unreadable pictures and copies in another split, for --data
    to
        folder for check.html and findings.csv; runs/check-NAME where not given
    backbone
        network that judges labels; a small one where not given
    weights
        file of published weights that it starts from
    image_size
        side at which it sees the pictures
    device
        auto, cpu or cuda
    threads
        of the CPU, in a training
    seed
        of the trainings
    data_root
        folder where named data sets are kept
    """
    from pretask.checks import check as run_checks
    from pretask.config.files import from_flat
    from pretask.fitting.plan import seconds_of

    settings = {
        "method": "baseline",
        "backbone": backbone,
        "weights": weights,
        "image_size": image_size,
        "device": device,
        "threads": threads,
        "seed": seed,
        "data_root": data_root,
    }
    run_checks(
        photos,
        labels=labels,
        seconds=None if time is None else seconds_of(time),
        group=group,
        apply=apply,
        to=to,
        config=from_flat({key: value for key, value in settings.items() if value is not None}),
        console=open_console(),
    )
