"""Runs the real command line in this process, and makes tiny data for it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretask.cli.flags import bind_settings
from pretask.cli.main import app, main


@dataclass(frozen=True)
class Answer:
    """What a command left behind: exit code and both streams."""

    code: int
    out: str
    err: str

    def fault(self, *words: str) -> str:
        """Check that this is a fault told in one line that holds all `words`; return the line."""
        assert self.code == 2, (self.code, self.err, self.out)
        assert self.err.startswith("pretask: ")
        assert self.err.count("\n") == 1
        assert self.err.endswith("\n")
        assert "Traceback" not in self.err + self.out
        for word in words:
            assert word in self.err, f"{word!r} is not in {self.err!r}"
        return self.err


class CommandLine:
    """Calls `pretask` with arguments, in the current folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Answer:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        return Answer(leaving.value.code, captured.out, captured.err)

    def well(self, *arguments: object) -> str:
        """Call, check that all went well and that the error stream is silent; return what was printed."""
        answer = self(*arguments)
        assert answer.code == 0, answer.err
        assert answer.err == ""
        return answer.out


def parsed(tokens: Sequence[str]) -> inspect.BoundArguments:
    """Return what a command would be called with; nothing is run."""
    bind_settings(tokens)
    _, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    return bound


def tiny(**changes: object) -> list[str]:
    """Return flags for a training of a second on digits, some changed; a change to None drops the flag."""
    settings: dict[str, object] = {
        "data": "digits",
        "per_class": 5,
        "epochs": 1,
        "backbone": "resnet8",
        "batch_size": 25,
        "lr": 0.1,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
    }
    return flags({**settings, **changes})


def flags(settings: dict[str, object]) -> list[str]:
    """Return settings as flags: True and False as --name and --no-name, tuples as several values."""
    given: list[str] = []
    for key, value in settings.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            given.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, tuple):
            given += [f"--{name}", *map(str, value)]
        elif value is not None:
            given += [f"--{name}", str(value)]
    return given


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def results_of(run: Path | str) -> dict:
    """Return a run's `results.json`."""
    return json.loads((Path(run) / "results.json").read_text())


def picture(path: Path, size: tuple[int, int] = (16, 16), mode: str = "RGB", seed: int = 0) -> Path:
    """Write a picture of noise; `size` is (height, width)."""
    bands = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, bands), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode=None).save(path)
    return path


def picture_folder(
    folder: Path,
    classes: tuple[str, ...] = ("cat", "dog"),
    count: int = 8,
    size: tuple[int, int] = (16, 16),
    mode: str = "RGB",
) -> Path:
    """Write a folder of class folders with pictures 00.png, 01.png, …"""
    for c, name in enumerate(classes):
        for i in range(count):
            picture(folder / name / f"{i:02}.png", size, mode, seed=1000 * c + i)
    return folder


def untrained_run(
    folder: Path,
    *,
    classes: tuple[str, ...] = ("cat", "dog", "owl"),
    channels: int = 3,
    size: tuple[int, int] = (16, 16),
    method: str = "sla",
    seed: int = 0,
) -> Path:
    """Save a model as a run would, its weights drawn at random."""
    import torch

    from pretask.backbones import create_backbone
    from pretask.methods import METHODS, MethodParts, ModelCard, create_method, save_model
    from pretask.pretexts import create_pretexts

    torch.manual_seed(seed)
    square, own = size[0] == size[1], METHODS.get(method).default_pretexts
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=size, in_channels=channels),
        class_counts=torch.ones(len(classes), dtype=torch.int64),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        pretexts=() if square else create_pretexts([name.replace("rotation", "rotation2") for name in own]),
    )
    made = create_method(method, parts)
    card = ModelCard(
        backbone="resnet8",
        image_size=size,
        channels=channels,
        class_names=classes,
        mean=parts.mean,
        std=parts.std,
        method=method,
        inference=made.inferences[0],
        facts={"data": "noise"},
    )
    save_model(folder, {name: made.classifier(name) for name in made.inferences}, card)
    return folder
