"""What `pretask fit` makes of a folder of photos in a time, beside what other tools make of it by their defaults.

Everything starts from scratch, on the CPU, in processes of their own, one after another. Each tool trains for the same
time; `pretask fit` has to do everything in it. The test images judge once; others choose by the validation images.

    python benchmarks/against_others.py --folders clothing bees steel --minutes 5 15 --seeds 3 --out rows.csv

Finished rows are not made again. `--python fastai=PATH` names an interpreter in whose environment a tool is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import rows

TOOLS = ("pretask", "fastai", "ultralytics")
COLUMNS = ("tool", "version", "folder", "minutes", "seed", "top1", "n", "seconds", "note")
SIZE = 128
"""Side of the images for tools that do not choose it; none of the folders has larger ones that matter."""


def run_pretask(folder: Path, minutes: float, seed: int, place: Path) -> tuple[float, int, str]:
    """Return test accuracy, number of test images, and what was chosen."""
    from pretask import configure, fit

    settings = configure({"seed": seed, "runs": str(place), "device": "cpu"})
    found = fit(folder, 60 * minutes, config=settings)
    return found["test"]["top1"], found["test"]["n"], found["winner"]


def run_fastai(folder: Path, minutes: float, seed: int, place: Path) -> tuple[float, int, str]:
    """As fastai's documentation has it for images: resnet18, its transforms, one cycle of as many epochs as fit."""
    from fastai.vision.all import (
        ImageDataLoaders,
        Resize,
        accuracy,
        aug_transforms,
        get_image_files,
        resnet18,
        set_seed,
        vision_learner,
    )

    set_seed(seed, reproducible=True)
    valid = {"valid": "validation"} if (folder / "validation").is_dir() else {"valid_pct": 0.2}
    data = ImageDataLoaders.from_folder(
        folder if "valid" in valid else folder / "train",
        train="train",
        seed=seed,
        item_tfms=Resize(SIZE),
        batch_tfms=aug_transforms(),
        bs=64,
        num_workers=2,
        **valid,
    )
    learner = vision_learner(data, resnet18, pretrained=False, metrics=accuracy, path=place)
    start = time.perf_counter()
    batches = 4
    learner.fit(1, cbs=[_stop_after(batches)])
    epoch_seconds = (time.perf_counter() - start) / batches * len(data.train) * 1.1
    learner = vision_learner(data, resnet18, pretrained=False, metrics=accuracy, path=place)
    epochs = max(1, int(60 * minutes / epoch_seconds))
    learner.fit_one_cycle(epochs)
    files = get_image_files(folder / "test")
    predicted, _ = learner.get_preds(dl=data.test_dl(files))
    names = [data.vocab[int(i)] for i in predicted.argmax(1)]
    right = sum(name == file.parent.name for name, file in zip(names, files, strict=True))
    return right / len(files), len(files), f"{epochs} epochs of resnet18 at {SIZE}"


def _stop_after(batches: int) -> object:
    from fastai.vision.all import Callback, CancelFitException

    class Stop(Callback):
        def after_batch(self) -> None:
            if self.iter >= batches - 1:
                raise CancelFitException

    return Stop()


def run_ultralytics(folder: Path, minutes: float, seed: int, place: Path) -> tuple[float, int, str]:
    """As Ultralytics' documentation has it for folders: yolo11n-cls from its description, stopped by its clock."""
    from ultralytics import YOLO

    layout = place / "data"
    layout.mkdir(parents=True)
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        if (folder / split).is_dir():
            (layout / name).symlink_to((folder / split).resolve())
    model = YOLO("yolo11n-cls.yaml")
    model.train(
        data=str(layout),
        time=minutes / 60,
        imgsz=SIZE,
        seed=seed,
        device="cpu",
        workers=2,
        project=str(place),
        name="run",
    )
    found = model.val(
        data=str(layout), split="test", imgsz=SIZE, device="cpu", project=str(place), name="val"
    )
    return float(found.top1), sum(1 for _ in (folder / "test").rglob("*.*")), f"yolo11n-cls at {SIZE}"


RUNNERS: dict[str, Callable[[Path, float, int, Path], tuple[float, int, str]]] = {
    "pretask": run_pretask,
    "fastai": run_fastai,
    "ultralytics": run_ultralytics,
}


def one(tool: str, folder: Path, minutes: float, seed: int) -> None:
    """Make one row in this process and print it as JSON on the last line."""
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        top1, n, note = RUNNERS[tool](folder, minutes, seed, Path(place))
        seconds = time.perf_counter() - start
    row = [tool, version(tool), folder.name, minutes, seed, round(top1, 4), n, round(seconds), note]
    print(
        "\n" + json.dumps(dict(zip(COLUMNS, row, strict=True)))
    )  # after progress bars that end without a new line


def main() -> None:
    """Make all rows that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", nargs="+", type=Path, required=True)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument("--minutes", nargs="+", type=float, default=[5, 15])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("against-others.csv"))
    parser.add_argument("--python", nargs="*", default=[], metavar="TOOL=PATH")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        tool, folder, minutes, seed = asked.one
        one(tool, Path(folder), float(minutes), int(seed))
        return
    interpreters = dict(entry.split("=", 1) for entry in asked.python)
    known = rows.read(asked.out)
    done = {(row["tool"], row["folder"], float(row["minutes"]), int(row["seed"])) for row in known}
    for minutes in asked.minutes:
        for seed in range(asked.seeds):
            for folder in asked.folders:
                for tool in asked.tools:
                    if (tool, folder.name, minutes, seed) not in done:
                        _add(
                            tool,
                            folder.resolve(),
                            minutes,
                            seed,
                            interpreters.get(tool, sys.executable),
                            asked.out,
                        )


def _add(tool: str, folder: Path, minutes: float, seed: int, python: str, out: Path) -> None:
    """Make a row in a process of its own, and append it."""
    command = [
        python,
        __file__,
        "--folders",
        str(folder),
        "--one",
        tool,
        str(folder),
        str(minutes),
        str(seed),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "YOLO_OFFLINE": "1"}
    )
    if done.returncode:
        raise SystemExit(f"{tool} on {folder.name} failed:\n{done.stderr[-2000:]}")
    row = json.loads(done.stdout.strip().splitlines()[-1])
    rows.append(out, COLUMNS, row)
    print(
        f"{tool:<12}{folder.name:<10}{minutes:>5g} min  seed {seed}  {100 * row['top1']:.1f} %  ({row['note']})",
        flush=True,
    )


if __name__ == "__main__":
    main()
