"""The ends of the range of every option: a training takes them, or ends in one line.

Options are found by their declarations, so that a new one is tried from the day it is declared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import pytest
import torch

from pretask import tasks
from pretask.config.files import build_config, config_keys, section_keys
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.data import ImageData, load_data
from pretask.data.splits.classes import split_classes
from pretask.errors import PretaskError
from pretask.losses import LOSSES
from pretask.methods import GATES, METHODS
from pretask.methods.episodic import HEADS
from pretask.options import LARGEST, LARGEST_WHOLE, SMALLEST, Option
from pretask.pretraining import BASES, OBJECTIVES
from pretask.tasks.task import Task

COSTLY = {"epochs", "steps", "episodes", "test_episodes", "workers", "threads", "profile", "image_size"}
"""Large values of these are allowed, and only take long, or much memory."""
SMALL = {
    "backbone": "resnet8", "epochs": 1, "batch_size": 8, "lr": 0.1, "threads": 1, "device": "cpu", "precision": "fp32",
}  # fmt: skip
FEW_SHOT = {"ways": 2, "shots": 1, "queries": 1, "episodes": 1, "test_episodes": 3}
NUMBERS = (
    SMALLEST, 1, 0, 0.5, 1 - 2**-53, 2, 3, LARGEST, 1024, 2**53, LARGEST_WHOLE, -1, -LARGEST, -LARGEST_WHOLE,
)  # fmt: skip


def ends(option: Option) -> Iterator[Any]:
    """Yield the smallest and the largest of some numbers that an option takes, and the one that is nearest to 0."""
    hints = get_args(option.hint) if get_origin(option.hint) is not None else (option.hint,)
    if not {int, float} & set(hints):
        return
    taken = []
    for number in NUMBERS:
        try:
            option.read([number] if option.several else number)
        except PretaskError:
            continue
        if float in hints or isinstance(number, int):
            taken.append(number)
    chosen = {min(taken), max(taken), SMALLEST if SMALLEST in taken else min(taken)}
    yield from ([number] if option.several else number for number in sorted(chosen))


@cache
def data(classes: int = 2) -> ImageData:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (8 * classes, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(8 * classes) % classes
    splits = {
        "validation": (images[:classes], labels[:classes]),
        "test": (images[:classes], labels[:classes]),
    }
    return load_data({"train": (images, labels), **splits})


def choices(kind: type[Any]) -> Iterator[dict[str, str]]:
    """Yield choices of parts in which every option of a kind of training appears."""
    if kind is RunConfig:
        yield {"method": "baseline"}
        yield from ({"method": name} for name in METHODS.names())
        yield from ({"method": "baseline", "loss": name} for name in LOSSES.names())
        yield {"method": "baseline", "adversarial": "pgd10"}
        yield from ({"method": "gssl", "gate": name} for name in GATES.names())
    elif kind is PretrainConfig:
        yield from ({"method": name} for name in OBJECTIVES.names())
        yield from ({"method": "trimix", "base": name} for name in BASES.names())
    else:
        yield from ({"head": name} for name in HEADS.names())


def options(kind: type[Any]) -> Iterator[tuple[dict[str, str], Option]]:
    """Yield every option of a kind of training once, with a choice that has it."""
    seen = set(COSTLY)
    for choice in choices(kind):
        for key, option in config_keys(kind, choice).items():
            if key not in seen:
                seen.add(key)
                yield choice, option


def outcome(case: str, act: Any) -> None:
    """Do it; a fault must be a line, and anything else that is raised fails the test."""
    try:
        act()
    except PretaskError as fault:
        assert "\n" not in str(fault) and len(str(fault)) < 1000, case
    except Exception as error:
        raise AssertionError(f"{case} ended in {type(error).__name__}: {str(error)[:200]}") from error


KEYS_OF_ALL = sorted(
    key for key, option in section_keys(RunConfig).items() if key not in COSTLY and list(ends(option))
)


@pytest.mark.parametrize("key", KEYS_OF_ALL)
def test_keys_of_every_training(key: str, tmp_path: Path) -> None:
    """The smallest values are those of other tests, but for those just above 0."""
    option = section_keys(RunConfig)[key]
    values = list(ends(option))
    for place, value in enumerate(values if SMALLEST in values else values[-1:]):
        settings = {**SMALL, "method": "baseline", "runs": str(tmp_path), "name": str(place), key: value}
        config = build_config(RunConfig, settings)
        outcome(f"{key} = {value}", lambda config=config: tasks.train(config, data(), report=False))


@pytest.mark.parametrize(("size", "batch"), [(1, 1), (1, 2), (2, 1)])
def test_the_smallest_images_in_the_smallest_batches(size: int, batch: int, tmp_path: Path) -> None:
    settings = {
        **SMALL,
        "method": "baseline",
        "runs": str(tmp_path),
        "name": "run",
        "batch_size": batch,
        "steps": 2,
    }
    small = replace(data(), image_size=(size, size))
    if batch == 1:
        with pytest.raises(PretaskError, match=r"needs two values of a channel.*--batch-size 2"):
            tasks.train(build_config(RunConfig, settings), small, report=False)
    else:
        tasks.train(build_config(RunConfig, settings), small, report=False)


def test_sections_that_are_made_by_hand(tmp_path: Path) -> None:
    config = build_config(RunConfig, {**SMALL, "method": "baseline", "runs": str(tmp_path)})
    for changed, words in (
        (replace(config, optim=replace(config.optim, milestones=(5.0, -1.0, math.nan))), "milestones = "),
        (replace(config, data=replace(config.data, imbalance=math.inf)), "imbalance = inf is not possible"),
        (replace(config, optim=replace(config.optim, lr=1e308)), "between 1e-30 and 1e\\+30 in size"),
    ):
        with pytest.raises(PretaskError, match=words):
            tasks.train(changed, data())


@pytest.mark.parametrize("kind", [RunConfig, PretrainConfig, FewShotConfig])
def test_options_of_parts_in_a_step(kind: type[Any], tmp_path: Path) -> None:
    """What a part makes of its options shows when it is built, and in a step at the beginning, and one at the end."""
    own = set(section_keys(RunConfig))
    tried = 0
    for choice, option in options(kind):
        if option.name in own:
            continue
        for value in ends(option):
            settings = {**SMALL, **(FEW_SHOT if kind is FewShotConfig else {}), **choice, option.name: value}
            config = build_config(kind, {**settings, "runs": str(tmp_path)})
            outcome(f"{choice} {option.name} = {value}", lambda config=config: step(config))
            tried += 1
    assert tried > (3 if kind is FewShotConfig else 15)


def step(config: Any) -> None:
    task: Task[Any, Any, Any] = tasks.task_of(config).read(
        config, split_classes(data(12), seed=0) if isinstance(config, FewShotConfig) else data()
    )
    task.decide(torch.device("cpu"))
    trainee = task.make()
    task.check_step(trainee)
    trainee.train()
    for progress in (0.0, 1.0):
        trainee.set_progress(progress)
        batch = next(iter(task.loader(trainee).epoch(0)))
        images, labels = batch.images, batch.labels
        if (prepare := task.preparation()) is not None:
            images, labels = prepare(trainee, images, labels)
        trainee(images, labels)["loss"].backward()
