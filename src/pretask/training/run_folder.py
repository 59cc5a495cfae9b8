"""The run folder: configuration, environment, metrics, checkpoint and model, in plain formats."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pretask.config.files import AnyConfig, C, load_any_config, merge_for_resume, save_config
from pretask.config.sections import SessionConfig
from pretask.data import ImageData
from pretask.data.identity import Identity
from pretask.data.load import AT_HAND, LEFT_ON_HUB, fixed_source
from pretask.data.splits.classes import ClassSplit
from pretask.errors import PretaskError
from pretask.io.documents import read_sealed
from pretask.io.files import is_text, make_folder, remove_unfinished, unwritable, write_atomically, write_json
from pretask.io.locks import Held, held
from pretask.io.redaction import arguments_without_secrets
from pretask.training.checkpoint import Checkpoints

LOCK = ".lock"
"""File in the folder of a run that the process which trains it holds."""
LONGEST_NAME = 200
"""Bytes in the name of a run: file systems take 255, and the names of exports are longer."""
_PACKAGES = ("pretask", "torch", "torchvision", "timm", "accelerate")


class RunFolder:
    """Paths and files of one run below `runs/<name>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = Checkpoints(path / "last")
        self.results = path / "results.json"
        self.environment = path / "environment.json"
        self.images = path / "split.safetensors"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Make the folder, and be the only process that trains there meanwhile.

        Raises:
            PretaskError: another process does, or the folder cannot be made or locked.
        """
        make_folder(self.path, "another --runs folder")
        lock = self.path / LOCK
        try:
            with held(lock):
                try:
                    yield
                finally:
                    with suppress(OSError):  # of systems that keep what is open
                        lock.unlink()
        except Held as owner:
            raise PretaskError(
                f"{self.path} is being trained by {owner}: wait for it, or give another --name for a new run"
            ) from None

    def open(self, config: C, free: Collection[str] = ()) -> C:
        """Make the folder, or resume one that was started with the same configuration.

        Args:
            config: what is asked.
            free: keys that may differ, beside those that always may.

        Returns:
            the configuration to use: `config`, or the saved one where a run is resumed.

        Raises:
            PretaskError: the folder holds a run of another configuration, or cannot be made.
        """
        if self.begun:
            saved = load_any_config(self.config)
            # Which images they are says more than where they lie, but a set on the Hub is a commit. Older versions
            # wrote no images, and relative paths.
            elsewhere = self.images.is_file() and not str(saved.data.data).startswith("hf:")
            if elsewhere or _same_place(saved.data.data, config.data.data):
                free = (*free, "data")
            return merge_for_resume(config, saved, self.path, free)
        make_folder(self.path, "another --runs folder")
        return config

    def start(self, config: AnyConfig, environment: dict[str, Any], data: ImageData | ClassSplit) -> None:
        """Write the resolved configuration, the environment and which images are used for what, once per run."""
        if not self.begun:
            Identity.of(data).write(self.images)
            write_json(self.environment, environment)
            save_config(config, self.config)

    def withdraw(self) -> None:
        """Let a run that failed before its first checkpoint begin anew, with other settings perhaps."""
        if not self.checkpoints.exist and not self.finished:
            self.config.unlink(missing_ok=True)

    def known_images(self) -> Identity | None:
        """Return which images the run uses for what; None where it has not begun, or wrote none down.

        Raises:
            PretaskError: the file is damaged.
        """
        return Identity.read(self.images) if self.begun and self.images.is_file() else None

    @property
    def begun(self) -> bool:
        """Whether there is something to resume, with the settings that its configuration says."""
        return self.config.is_file()

    @property
    def finished(self) -> bool:
        """Whether the run has its results."""
        return self.results.is_file()

    @property
    def under_way(self) -> bool:
        """Whether this is a run, not an export, and has not come to its results."""
        return self.config.is_file() and not self.finished

    def read_results(self) -> dict[str, Any]:
        """Return `results.json`.

        Raises:
            PretaskError: it is missing or damaged.
        """
        return read_sealed(self.results, "delete it and type the run's command again")

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add one line to `metrics.jsonl`."""
        try:
            with self.metrics.open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise unwritable(self.metrics, error) from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the records of `metrics.jsonl`; a last line that a kill cut short is left out.

        Raises:
            PretaskError: another line is damaged.
        """
        lines = self.metrics.read_bytes().splitlines() if self.metrics.is_file() else []
        records: list[dict[str, Any]] = []
        for place, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                int(record["epoch"])
            except (ValueError, KeyError, TypeError, RecursionError):
                if place == len(lines):
                    break
                raise PretaskError(f"line {place} of {self.metrics} is damaged: remove it") from None
            records.append(record)
        return records

    def truncate_metrics(self, epochs: int) -> None:
        """Drop records after the first `epochs` epochs: those that a resumed run will write again."""
        kept = [json.dumps(record) + "\n" for record in self.read_metrics() if record["epoch"] <= epochs]
        if self.metrics.is_file():
            write_atomically(self.metrics, lambda path: path.write_text("".join(kept)))

    def remove_unfinished(self) -> None:
        """Remove what killed processes left half written."""
        for folder in (self.path, self.checkpoints.newest.parent):
            remove_unfinished(folder)


def _same_place(saved: str, asked: str) -> bool:
    """Whether data is the same, or cannot be told apart, where a run has written down none of its images."""
    return asked == AT_HAND or (not saved.startswith(LEFT_ON_HUB) and fixed_source(saved) == asked)


def run_name(session: SessionConfig, method: str, data: str) -> str:
    """Return the run's folder name: as given, or made of method, data and seed; see `folder_name`."""
    return folder_name(session.name, f"{method}-{data}-seed{session.seed}")


def folder_name(given: str | None, default: str) -> str:
    """Return a given name, or a default one without signs that a file system may refuse.

    Raises:
        PretaskError: the given name is not that of one folder, or of none that can be written and shown everywhere.
    """
    name = given or "".join(c if c.isalnum() or c in "-_." else "-" for c in default)
    if not is_text(name):
        raise PretaskError(
            f"--name {given} has characters that are no text: type one of letters, digits, - and _"
        )
    if len(name.encode()) > LONGEST_NAME:
        raise PretaskError(
            f"the name {name[:40]}… has {len(name.encode())} bytes, more than {LONGEST_NAME}: type a shorter --name"
        )
    if not given:
        return name
    if given in (".", "..") or {"/", "\\"} & set(given):
        raise PretaskError(
            f"--name {given} is not the name of one folder: type one without / and \\, and --runs for where it lies"
        )
    return given


def describe_environment(hardware: dict[str, str | int]) -> dict[str, Any]:
    """Return versions, commit, hardware, command and time."""
    return {
        "command": command_line(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.system(),
        "versions": versions(),
        "commit": _commit(),
        "hardware": hardware,
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a run computes."""
    return {package: version(package) for package in _PACKAGES}


def command_line() -> str:
    """Return the command that started this process, as one would type it, without secrets."""
    program = Path(sys.argv[0]).name
    shown = "pretask" if program in ("pretask", "__main__.py") else program
    return shlex.join([shown, *arguments_without_secrets(sys.argv[1:])])


def _commit() -> str | None:
    source = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
