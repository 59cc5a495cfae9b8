"""How long commands take until they begin their work, against `import torch`.

Prints medians over rounds, in which all are started in turn, and their ratios to `import torch`. A training begins its
work with the first line that it prints; a prediction as it reads the model.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_TRAINING = [
    "train",
    "--data",
    "digits",
    "--backbone",
    "resnet8",
    "--epochs",
    "1",
    "--per-class",
    "5",
    "--device",
    "cpu",
]
_PRETASK = (sys.executable, "-m", "pretask")
_READS_MODEL = """
import sys
from pretask.methods import model_files
from pretask.cli.main import main

def reached(*arguments):
    sys.exit(0)

model_files.read_card = reached
main(sys.argv[1:])
"""


def whole(command: Sequence[str]) -> float:
    """Return the seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def first_line(command: Sequence[str]) -> float:
    """Return the seconds until a command prints its first line; it is stopped then."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.kill()
    if not line:
        raise SystemExit(f"{' '.join(command)} prints nothing")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs, picture = ["--runs", str(folder)], folder / "picture.png"
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
        subprocess.run([*_PRETASK, *_TRAINING, *runs, "--name", "run"], check=True, stdout=subprocess.DEVNULL)
        predict = ["predict", str(folder / "run"), str(picture), "--device", "cpu"]
        unbuffered = (sys.executable, "-u", "-m", "pretask")
        cases: dict[str, Callable[[], float]] = {
            "import torch": lambda: whole([sys.executable, "-c", "import torch"]),
            "pretask --help": lambda: whole([*_PRETASK, "--help"]),
            "pretask list methods": lambda: whole([*_PRETASK, "list", "methods"]),
            "pretask train, first line": lambda: first_line(
                [*unbuffered, *_TRAINING, *runs, "--name", fresh()]
            ),
            "pretask predict, model read": lambda: whole([sys.executable, "-c", _READS_MODEL, *predict]),
            "pretask predict, in all": lambda: whole([*_PRETASK, *predict]),
        }
        names = iter(f"fresh{k}" for k in range(rounds))

        def fresh() -> str:
            return next(names)

        found: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case, measure in cases.items():
                found[case].append(measure())
    base = statistics.median(found["import torch"])
    for case, seconds in found.items():
        median = statistics.median(seconds)
        print(
            f"{case:<30} {median:6.2f} s  {median / base:5.2f} x  {min(seconds):.2f} to {max(seconds):.2f} s"
        )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
