"""What `pretask fit` makes of a folder of photos in a time, beside what other tools make of it by their defaults.

On the CPU, in processes of their own, one after another. Each tool trains for the same time; `pretask fit` has to do
everything in it. The test images judge once; others choose by the validation images. All start from scratch, or from
one file of published weights of one timm network.

    python benchmarks/against_others.py --folders clothing bees steel --minutes 5 15 --seeds 3 --out rows.csv
    python benchmarks/against_others.py --folders clothing bees --minutes 5 --tools pretask fastai \
        --network tf_efficientnet_lite0 --weights lite0.pth --out tuned.csv

Finished rows are not made again. `--python fastai=PATH` names an interpreter in whose environment a tool is installed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import rows

TOOLS = ("pretask", "fastai", "ultralytics")
COLUMNS = ("tool", "version", "folder", "minutes", "seed", "top1", "n", "seconds", "note")
SIZE = 128
"""Side of the images for tools that do not choose it; none of the folders has larger ones that matter."""


@dataclass(frozen=True)
class Start:
    """A timm model and a file with its weights, under timm's names."""

    network: str
    weights: Path


def run_pretask(
    folder: Path, minutes: float, seed: int, place: Path, start: Start | None
) -> tuple[float, int, str]:
    """Return test accuracy, number of test images, and what was chosen."""
    from pretask import configure, fit

    given = {"seed": seed, "runs": str(place), "device": "cpu"}
    if start is not None:
        given |= {"backbone": start.network, "weights": str(start.weights)}
    settings = configure(given)
    found = fit(folder, 60 * minutes, config=settings)
    return found["test"]["top1"], found["test"]["n"], found["winner"]


def run_fastai(
    folder: Path, minutes: float, seed: int, place: Path, start: Start | None
) -> tuple[float, int, str]:
    """As fastai's documentation has it for images: its transforms, and as many epochs as fit.

    That is one cycle of resnet18 from scratch, or `fine_tune` of a network with weights.
    """
    from fastai.vision.all import (
        ImageDataLoaders,
        Learner,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        get_image_files,
        resnet18,
        set_seed,
        vision_learner,
    )

    set_seed(seed, reproducible=True)
    transforms = aug_transforms()
    if start is not None:
        import timm
        from safetensors.torch import load_file

        expected = timm.get_pretrained_cfg(start.network)
        transforms = [*transforms, Normalize.from_stats(expected.mean, expected.std)]

    def learner() -> Learner:
        if start is None:
            return vision_learner(data, resnet18, pretrained=False, metrics=accuracy, path=place)
        made = vision_learner(data, start.network, pretrained=False, metrics=accuracy, path=place)
        missing = made.model[0].model.load_state_dict(load_file(start.weights), strict=False).missing_keys
        if missing:
            raise SystemExit(f"{start.weights} lacks {missing[0]} and {len(missing) - 1} more")
        return made

    valid = {"valid": "validation"} if (folder / "validation").is_dir() else {"valid_pct": 0.2}
    data = ImageDataLoaders.from_folder(
        folder if "valid" in valid else folder / "train",
        train="train",
        seed=seed,
        item_tfms=Resize(SIZE),
        batch_tfms=transforms,
        bs=64,
        num_workers=2,
        **valid,
    )
    began = time.perf_counter()
    batches = 4
    learner().fit(1, cbs=[_stop_after(batches)])
    epoch_seconds = (time.perf_counter() - began) / batches * len(data.train) * 1.1
    epochs = max(1, int(60 * minutes / epoch_seconds))
    made = learner()
    if start is None:
        made.fit_one_cycle(epochs)
    else:
        made.fine_tune(epochs)  # after an epoch in which the network is frozen
    files = get_image_files(folder / "test")
    predicted, _ = made.get_preds(dl=data.test_dl(files))
    names = [data.vocab[int(i)] for i in predicted.argmax(1)]
    right = sum(name == file.parent.name for name, file in zip(names, files, strict=True))
    network = "resnet18" if start is None else start.network
    return right / len(files), len(files), f"{epochs} epochs of {network} at {SIZE}"


def _stop_after(batches: int) -> object:
    from fastai.vision.all import Callback, CancelFitException

    class Stop(Callback):
        def after_batch(self) -> None:
            if self.iter >= batches - 1:
                raise CancelFitException

    return Stop()


def run_ultralytics(
    folder: Path, minutes: float, seed: int, place: Path, start: Start | None
) -> tuple[float, int, str]:
    """As Ultralytics' documentation has it for folders: yolo11n-cls from its description, stopped by its clock."""
    from ultralytics import YOLO

    if start is not None:
        raise SystemExit("ultralytics trains networks of its own: leave it out of --tools")
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


RUNNERS: dict[str, Callable[[Path, float, int, Path, Start | None], tuple[float, int, str]]] = {
    "pretask": run_pretask,
    "fastai": run_fastai,
    "ultralytics": run_ultralytics,
}


def one(tool: str, folder: Path, minutes: float, seed: int, start: Start | None) -> None:
    """Make one row in this process and print it as JSON on the last line."""
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        top1, n, note = RUNNERS[tool](folder, minutes, seed, Path(place), start)
        seconds = time.perf_counter() - began
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
    parser.add_argument("--network", help="of timm, to start from --weights")
    parser.add_argument("--weights", type=Path, help="a state dict, under whatever names")
    parser.add_argument("--out", type=Path, default=Path("against-others.csv"))
    parser.add_argument("--python", nargs="*", default=[], metavar="TOOL=PATH")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if (asked.network is None) != (asked.weights is None):
        parser.error("--network and --weights go together")
    if asked.one:
        tool, minutes, seed = asked.one
        start = None if asked.weights is None else Start(asked.network, asked.weights)
        one(tool, asked.folders[0], float(minutes), int(seed), start)
        return
    interpreters = dict(entry.split("=", 1) for entry in asked.python)
    known = rows.read(asked.out)
    done = {(row["tool"], row["folder"], float(row["minutes"]), int(row["seed"])) for row in known}
    with tempfile.TemporaryDirectory() as place:
        start = None
        if asked.weights is not None:
            start = Start(asked.network, _under_timms_names(asked.network, asked.weights, Path(place)))
        for minutes, seed, folder, tool in itertools.product(
            asked.minutes, range(asked.seeds), asked.folders, asked.tools
        ):
            if (tool, folder.name, minutes, seed) not in done:
                python = interpreters.get(tool, sys.executable)
                _add(tool, folder.resolve(), minutes, seed, start, python, asked.out)


def _under_timms_names(network: str, weights: Path, place: Path) -> Path:
    """Write a network's weights as timm names them, without its classifier."""
    from safetensors.torch import save_file

    from pretask.backbones import create_backbone

    path = place / "weights.safetensors"
    net = create_backbone(network, image_size=(SIZE, SIZE), weights=weights).net
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return path


def _add(
    tool: str, folder: Path, minutes: float, seed: int, start: Start | None, python: str, out: Path
) -> None:
    """Make a row in a process of its own, and append it."""
    command = [python, __file__, "--folders", str(folder), "--one", tool, str(minutes), str(seed)]
    if start is not None:
        command += ["--network", start.network, "--weights", str(start.weights)]
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
