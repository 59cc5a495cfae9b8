"""One run of any kind, from its configuration to its results."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from pretask.config.files import C, build_config, to_flat
from pretask.config.sections import OptimConfig, SessionConfig
from pretask.data.loaders.loader import Loader
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError
from pretask.io.documents import write_sealed
from pretask.tasks.foresee import foresee
from pretask.tasks.task import Task
from pretask.training.data import D, as_begun, fix_version
from pretask.training.device import (
    choose_precision,
    free_on,
    hardware,
    peak_memory,
    prepare_host,
    resolve_device,
)
from pretask.training.display import in_minutes, say
from pretask.training.guest import as_guest
from pretask.training.optim import check_optimizer, training_length
from pretask.training.run_folder import RunFolder, describe_environment, run_name
from pretask.training.snapshot import Position
from pretask.training.step import check_pieces
from pretask.training.weights import T, check_sharding


@as_guest()
def run_task(
    kind: type[Task[C, D, T]],
    config: C,
    data: D | None = None,
    console: Console | None = None,
    report: bool = True,
) -> dict[str, Any]:
    """Train, or resume a run that was stopped, and return its results; see `pretask.tasks.train`.

    Args:
        kind: of the training.
        config, data: what the kind takes.
        console: where to print.
        report: whether to write one.
    """
    config = build_config(type(config), to_flat(config))  # sections can be made by hand, out of range
    accelerator = join_processes(config.session)
    watched = found_by_first(lambda: console is not None)
    console = console if accelerator.is_main_process else None
    task = kind.read(fix_version(config, data), data)
    session = task.config.session
    folder = RunFolder(Path(session.runs) / run_name(session, task.name, task.data.name))
    with ExitStack() as until_done:

        def own() -> None:  # a run that has its results is but read, also where nothing can be written
            if not folder.finished:
                until_done.enter_context(folder.owned())

        found_by_first(own)
        begun = folder.begun
        try:
            return _run(task, folder, accelerator, watched, console, report)
        except PretaskError:
            if accelerator.is_main_process and not begun:
                folder.withdraw()
            raise


def _run(
    task: Task[C, D, T],
    folder: RunFolder,
    accelerator: Accelerator,
    watched: bool,
    console: Console | None,
    report: bool,
) -> dict[str, Any]:
    """Train, or resume, in a folder that is this process's own; see `run_task`.

    Args:
        task: with its data read and split.
        folder: of the run.
        accelerator: of this process.
        watched: whether the first process prints.
        console, report: as for `run_task`.
    """
    # What a first start decided is not decided again.
    asked = task.config = folder.open(task.config, free_on(accelerator.device))
    prepare_host(asked.session.threads, accelerator.device)
    known = folder.known_images()
    if known is not None:
        task.use(as_begun(task.config, task.whole, known, folder.path))
    said = known.notes if known is not None and folder.finished else ()
    if not folder.finished:
        say(console, f"data      {task.data.summary()}")
    for note in task.images.notes:
        if not folder.finished or note not in said:
            say(console, f"note      {note}")
    config = task.decide(accelerator.device)
    if folder.finished:
        say(console, f"{folder.path} is finished: its results are read, not made again")
        return _with_folder(task, folder, folder.read_results())

    trainee = task.make()
    task.check_step(trainee)
    expected = foresee(task, trainee, pieces_open=asked.optim.accumulate is None, timed=watched)
    config = task.config
    validate = task.validation(console)
    with closing(task.loader(trainee, accelerator.process_index, accelerator.num_processes)) as loader:
        check_optimizer(config.optim, trainee)
        check_pieces(config.optim.accumulate, trainee, loader)
        check_sharding(config.session, trainee, accelerator.num_processes, task.unshardable(trainee))
        if accelerator.is_main_process:
            folder.start(config, describe_environment(hardware(accelerator.device)), task.data)
        accelerator.wait_for_everyone()
        for line in _header(task, trainee, loader, accelerator, asked.session):
            say(console, line)
        if expected is not None:
            say(console, expected.line())
        trainee, position = task.fit(trainee, loader, folder, accelerator, validate, console)
    epochs = position.epoch or training_length(config.optim, len(loader))[0]
    results = {
        "method": task.name,
        "epochs": epochs,
        "seed": config.session.seed,
        "data": task.images.facts(),
        "backbone": trainee.backbone.facts.summary(),
        **task.results(trainee, folder, position, epochs),
        **_costs(position, _passes(task, trainee, position), accelerator),
    }
    _end(folder, results, accelerator, console, report)
    return _with_folder(task, folder, results)


def join_processes(session: SessionConfig) -> Accelerator:
    """Return this process's part in a run, its threads and device set.

    Raises:
        PretaskError: no such device, or a profile of several processes on a CPU.
    """
    device = resolve_device(session.device)
    prepare_host(session.threads, device)
    accelerator = Accelerator(cpu=device.type == "cpu")
    if session.max_seconds is not None and accelerator.num_processes > 1:
        raise PretaskError("--max-seconds is for one process, whose clock decides: give --epochs or --steps")
    if session.profile and accelerator.num_processes > 1 and device.type == "cpu":
        # torch 2.14 crashes as it writes the trace, every other time, where gloo has sent something meanwhile.
        raise PretaskError("--profile looks at one process on a CPU: start one, or drop --profile")
    return accelerator


def _passes(task: Task[Any, Any, T], trainee: T, position: Position) -> float:
    """Return what an image has cost: as counted, or as planned where there was no step."""
    if not position.images:
        return task.passes(trainee)
    return trainee.passes_per_image * (position.work / position.images)


def _costs(position: Position, passes: float, accelerator: Accelerator) -> dict[str, Any]:
    """Return the numbers on what a run has cost, at `passes` per image."""
    return {
        "command": describe_environment({})["command"],
        "seconds": position.seconds,
        "images_per_second": position.images / max(position.seconds, 1e-9),
        "wait_share": position.waited / max(position.seconds, 1e-9),
        "images": position.images,
        "passes": passes,
        "work_images": position.images * passes,
        "peak_memory": peak_memory(accelerator.device),
    }


def _end(
    folder: RunFolder,
    results: dict[str, Any],
    accelerator: Accelerator,
    console: Console | None,
    report: bool,
) -> None:
    """Write report and results, these last: a run that has them is not taken up again."""
    if accelerator.is_main_process:
        if report:
            from pretask.reports import write_run_report  # matplotlib takes most of a second to import

            write_run_report(folder.path, results)
        folder.checkpoints.drop_previous()
        write_sealed(folder.results, results)
        say(console, f"finished: {folder.path} ({in_minutes(results['seconds'])} of training)")
    accelerator.wait_for_everyone()


def _with_folder(task: Task[C, D, T], folder: RunFolder, results: dict[str, Any]) -> dict[str, Any]:
    return {**results, "folder": str(folder.path), "kind": task.kind}


def _header(
    task: Task[C, D, T], trainee: T, loader: Loader, accelerator: Accelerator, asked: SessionConfig
) -> list[str]:
    """Return the lines that say what a run is made of, warnings included.

    Args:
        task: with nothing left open.
        trainee, loader: as built for it.
        accelerator: of this process.
        asked: says what was left open.
    """
    facts, optim = trainee.backbone.facts, task.config.optim
    epochs, total = training_length(optim, len(loader))
    unlabelled = f"unlabelled {len(task.unlabelled):,} train images, those with labels among them"
    warnings = [facts.warning(), *task.warnings(trainee, len(loader))]
    return [
        *([unlabelled] if trainee.unlabelled_per_image else []),
        f"backbone  {facts.summary()}",
        f"method    {task.describe(trainee)}",
        *(f"decided   {made.line()}" for made in task.decided if made.reason),
        f"training  {epochs} epochs, {total} {task.unit} of {task.images_per_step(trainee)} images x "
        f"{accelerator.num_processes} process(es), {optim.optimizer} {optim.lr:g} {optim.schedule}"
        f"{_tuned(optim)}{task.changes}",
        _machine_line(task.config.session, asked, loader, accelerator),
        *(f"note      {note}" for note in (*facts.notes, *task.notes(trainee), loader.note) if note),
        *(f"warning   {warning}" for warning in warnings if warning),
    ]


def _tuned(optim: OptimConfig) -> str:
    """Return in words how the layers of a network differ in what they learn; begins with a comma."""
    decay = f", layer decay {optim.layer_decay:g}" if optim.layer_decay < 1 else ""
    return decay + (f", {optim.head_epochs:g} epoch(s) of new layers only" if optim.head_epochs else "")


def _machine_line(
    session: SessionConfig, asked: SessionConfig, loader: Loader, accelerator: Accelerator
) -> str:
    """Return the line that says on what a run computes, and why where the user left it open."""
    on_gpu = accelerator.device.type == "cuda"
    precision: str = session.precision
    compiled = "not compiled" if session.compile == "no" else "compiled"
    if asked.precision == "auto":
        precision += f" ({choose_precision(accelerator.device).reason})"
    if asked.compile == "auto":
        where = "with weights shared out" if session.shard_weights else f"on a {'GPU' if on_gpu else 'CPU'}"
        compiled += f" (the default {where})"
    threads = torch.get_num_threads()
    return (
        f"machine   {accelerator.device}, {threads} thread{'s'[: threads != 1]}, {precision}, {compiled}, "
        f"{loader.kind} loader ({loader.nbytes / 1e6:.0f} MB on the device)"
    )
