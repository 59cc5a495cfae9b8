"""One run of any kind: training with labels, pre-training, training by episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from pretask.config.files import AnyConfig, load_any_config, override
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.data import ImageData
from pretask.data.splits.classes import ClassSplit
from pretask.errors import PretaskError
from pretask.tasks.episodes import Episodes
from pretask.tasks.pretraining import Pretraining, Untrained
from pretask.tasks.run import run_task
from pretask.tasks.supervised import Supervised
from pretask.tasks.task import Task

__all__ = [
    "Episodes", "Pretraining", "Supervised", "pretrain", "resume", "save_untrained", "task_of", "train",
    "train_few_shot",
]  # fmt: skip


def train(
    config: RunConfig, data: ImageData | None = None, console: Console | None = None, report: bool = True
) -> dict[str, Any]:
    """Train one model, or resume a run that was stopped, and return its results.

    A run folder that has its results is read, not trained again.

    Args:
        config: the run; what it leaves open is decided and saved.
        data: in place of what `config.data.data` names; the configuration's splits are applied to it.
        console: where header and progress are printed; nothing is printed without one.
        report: whether to write `report.html`.

    Returns:
        the content of `results.json`, with "folder" and "kind".

    Raises:
        PretaskError: see section "faults" of the documentation; nothing that was saved is lost.
        Interrupted: the user stopped the run.
    """
    return run_task(Supervised, config, data, console, report)


def pretrain(
    config: PretrainConfig, data: ImageData | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Train a backbone without labels, or resume a run that was stopped, and return its results.

    Labels shape the splits, and where there are some the neighbours of embeddings are counted by class during
    training; nothing is learned or selected from them.

    Args:
        config, data, console: as for `train`; warnings are printed too.

    Returns:
        the content of `results.json`, with "folder" and "kind".

    Raises:
        PretaskError: as `train`; fewer than two images in a batch.
        MissingExtra: `lightly` or `kornia` is not installed.
        Interrupted: the user stopped the run.
    """
    return run_task(Pretraining, config, data, console)


def save_untrained(config: PretrainConfig, data: ImageData | None = None) -> dict[str, Any]:
    """Leave a backbone with random weights as a finished run; see `Untrained`.

    Args:
        config, data: as for `pretrain`.

    Returns:
        the content of `results.json`, with "folder" and "kind".

    Raises:
        PretaskError, MissingExtra: see `pretrain`.
    """
    return run_task(Untrained, config, data)


def train_few_shot(
    config: FewShotConfig, split: ClassSplit | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Train a backbone by episodes, or resume a run that was stopped, and try it on classes it has never seen.

    Args:
        config: the run; what it leaves open is decided and saved.
        split: in place of what `config.data.data` names.
        console: where header and progress are printed; nothing is printed without one.

    Returns:
        the content of `results.json`, with "folder" and "kind"; "few_shot" has the numbers of each inference on test
        classes.

    Raises:
        PretaskError: as `train`; too few classes or images for an episode.
        Interrupted: the user stopped the run.
    """
    return run_task(Episodes, config, split, console)


def resume(
    folder: Path | str,
    console: Console | None = None,
    data: str | Path | ImageData | ClassSplit | None = None,
) -> dict[str, Any]:
    """Resume a run of any kind from its folder alone; see `train`.

    Args:
        folder: of the run.
        console: as for `train`.
        data: where its images are now, or they themselves; where they were where not given.

    Raises:
        PretaskError: the folder holds no run, or the data are other images than the run began with.
    """
    path = Path(folder)
    if not (path / "config.yaml").is_file():
        raise PretaskError(f"{path} is not a run folder (no config.yaml): give one that a training has made")
    config = load_any_config(path / "config.yaml", name=path.name, runs=str(path.parent))
    if isinstance(data, str | Path):
        config, data = override(config, data=str(data)), None
    return run_task(task_of(config), config, data, console)


def task_of(config: AnyConfig) -> type[Task[Any, Any, Any]]:
    """Return the kind of task that `config` is for."""
    return _TASKS[config.kind]


_TASKS: dict[str, type[Task[Any, Any, Any]]] = {
    "supervised": Supervised, "pretraining": Pretraining, "episodes": Episodes,
}  # fmt: skip
