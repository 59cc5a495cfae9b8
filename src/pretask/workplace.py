"""What every run begins and ends with, with labels or without: device, processes, data, folder, results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from accelerate import Accelerator
from rich.console import Console

from pretask.config.files import AnyConfig, C
from pretask.data import ImageData
from pretask.data.loaders.loader import Loader
from pretask.errors import PretaskError
from pretask.io.documents import write_sealed
from pretask.reports import write_run_report
from pretask.training.build import build_data, build_loader, fix_version, split_data
from pretask.training.device import hardware, peak_memory, prepare_host, resolve_device
from pretask.training.display import in_minutes, say
from pretask.training.run_folder import RunFolder, describe_environment, run_name
from pretask.training.snapshot import Position


@dataclass(frozen=True)
class Workplace(Generic[C]):
    """Where a run takes place.

    Attributes:
        asked: the configuration, with the version of data that is read from elsewhere.
        device: as resolved from the configuration; `accelerator.device` is this process's.
        accelerator: processes and precision.
        console: of the first process, where it has one.
        data: split.
        folder: of the run.
    """

    asked: C
    device: torch.device
    accelerator: Accelerator
    console: Console | None
    data: ImageData
    folder: RunFolder

    def finished(self) -> dict[str, Any] | None:
        """Return the results of a run that has them already."""
        if not self.folder.finished:
            return None
        say(self.console, f"{self.folder.path} is finished: its results are read, not made again")
        return {**self.folder.read_results(), "folder": str(self.folder.path)}

    def loader(self, config: AnyConfig) -> Loader:
        """Return this process's loader of training batches."""
        accelerator = self.accelerator
        return build_loader(
            config, self.data, accelerator.device, accelerator.process_index, accelerator.num_processes
        )

    def begin(self, config: AnyConfig, header: list[str]) -> None:
        """Write down what the run is, and tell it."""
        if self.accelerator.is_main_process:
            self.folder.start(config, describe_environment(hardware(self.device)))
        self.accelerator.wait_for_everyone()
        for line in header:
            say(self.console, line)

    def costs(self, position: Position, passes: float) -> dict[str, Any]:
        """Return the figures on what a run has cost, at `passes` per image."""
        return {
            "command": describe_environment({})["command"],
            "seconds": position.seconds,
            "images_per_second": position.images / max(position.seconds, 1e-9),
            "wait_share": position.waited / max(position.seconds, 1e-9),
            "images": position.images,
            "passes": passes,
            "work_images": position.images * passes,
            "peak_memory": peak_memory(self.accelerator.device),
        }

    def end(self, results: dict[str, Any]) -> dict[str, Any]:
        """Write report and results; return the results with "folder"."""
        if self.accelerator.is_main_process:
            write_run_report(self.folder.path, results)
            self.folder.checkpoints.drop_previous()
            write_sealed(self.folder.results, results)  # the last: a run that has them is not taken up again
            say(self.console, f"finished: {self.folder.path} ({in_minutes(results['seconds'])} of training)")
        self.accelerator.wait_for_everyone()
        return {**results, "folder": str(self.folder.path)}


def join_processes(config: AnyConfig) -> Accelerator:
    """Return this process's part in a run, its threads and device set; whoever asks again gets the same.

    Raises:
        PretaskError: numbers out of range, no such device, or a profile of several processes on a processor.
    """
    device = resolve_device(config.session.device)
    prepare_host(config.session.threads, device)
    accelerator = Accelerator(cpu=device.type == "cpu")
    if config.session.profile and accelerator.num_processes > 1 and device.type == "cpu":
        # torch 2.14 crashes as it writes the trace, every other time, where gloo has sent something meanwhile.
        raise PretaskError("--profile looks at one process on a processor: start one, or drop --profile")
    return accelerator


def open_workplace(config: C, method: str, data: ImageData | None, console: Console | None) -> Workplace[C]:
    """Return where a run of `method` takes place, its data read and split; nothing is written yet.

    Args:
        config: of the run.
        method: its name, for the folder's.
        data: in place of what `config.data.data` names.
        console: where to print, on the first process.

    Raises:
        PretaskError: see `join_processes`; data that cannot be read or split.
    """
    accelerator = join_processes(config)
    if data is None:
        config = fix_version(config)
    found = split_data(data, config) if data is not None else build_data(config)
    return Workplace(
        config,
        resolve_device(config.session.device),
        accelerator,
        console if accelerator.is_main_process else None,
        found,
        RunFolder(Path(config.session.runs) / run_name(config.session, method, found.name)),
    )
