"""Kills trainings and studies at random moments, starts them again, and compares what they end in.

A small run, which writes a checkpoint after every step, and a small study of two jobs are each made once without a
kill. Then the same command is started, its process group gets SIGKILL at a moment that is uniform over the time that
the uninterrupted one worked, or less once a start has needed less, counted from the first file that a start writes
(the import of torch before it is not counted), and it is started again, until it ends; and so on, until all kills are
made. What it ended in must equal the uninterrupted one's in every bit but times, and a finished trial of a study must
never be written again. Ends with code 1 where anything differs. Kills are noted in --folder one by one: the same
command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from torch import Tensor, uint8

from pretask.io.files import write_json
from pretask.io.tensors import read_tensors
from pretask.training.checkpoint import load_tree
from pretask.training.run_folder import RunFolder

# The precision is given, since "auto" asks a timing, which may answer otherwise when the machine is busy.
SMALL = "--data digits --backbone resnet8 --checkpoint-steps 1 --threads 1 --device cpu --precision fp32"
COMMANDS = {
    "run": f"train --method sla --per-class 30 --epochs 4 --batch-size 16 {SMALL}",
    "study": f"compare --methods baseline sla --seeds 2 --jobs 2 --per-class 15 --epochs 4 --batch-size 16 {SMALL}",
}
DIFFER = {"command", "checksum", "seconds", "waited", "images_per_second", "wait_share", "peak_memory"}
"""Keys of times, of memory, of the command with its folder, and of the checksum over these."""
START_SECONDS = 300


class Fault(SystemExit):
    """What a kill must not do, in one line; exit code 1."""


def frozen(node: Any) -> Any:
    """Return content in a form that == compares bit for bit, without what differs from run to run."""
    if isinstance(node, Tensor):
        return str(node.dtype), tuple(node.shape), node.reshape(-1).view(uint8).numpy().tobytes()
    if isinstance(node, dict):
        return {key: frozen(value) for key, value in node.items() if key not in DIFFER}
    if isinstance(node, list | tuple):
        return [frozen(value) for value in node]
    return repr(node)


def runs_in(folder: Path) -> dict[str, RunFolder]:
    """Return the runs of a folder, itself a run or a study."""
    paths = sorted({path.parent for path in folder.glob("**/config.yaml")})
    return {path.relative_to(folder).as_posix(): RunFolder(path) for path in paths}


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a finished run or study has, by the name of the file that it is in."""
    found: dict[str, Any] = {}
    for name, run in runs_in(folder).items():
        found[f"{name}/model.safetensors"] = frozen(read_tensors(run.path / "model.safetensors")[0])
        found[f"{name}/last/state.safetensors"] = frozen(load_tree(run.checkpoints.newest))
        found[f"{name}/metrics.jsonl"] = frozen(run.read_metrics())
        found[f"{name}/results.json"] = frozen(run.read_results())
    study = folder / "study.json"
    # What lies half written of a study's own table stays, since another process of the study may be writing it.
    left = set(folder.glob(".*.tmp")) if study.exists() else set()
    kept = [path for path in folder.rglob("*") if left.isdisjoint((path, *path.parents))]
    found["names of files"] = sorted(path.relative_to(folder).as_posix() for path in kept)
    if study.exists():
        content = json.loads(study.read_text())
        found["study.json"] = frozen({key: content[key] for key in ("rows", "curves", "failures")})
    return found


def state(folder: Path) -> dict[str, Any]:
    """Return what a kill left of each run: how far it is, what lies half written, and its results' inode and time."""
    found = {}
    for name, run in runs_in(folder).items():
        newest, previous = run.checkpoints.newest, run.checkpoints.previous
        warnings: list[str] = []
        step = run.checkpoints.load(warnings.append)["position"]["step"] if run.checkpoints.exist else None
        told = run.results.stat() if run.finished else None
        found[name] = {
            "step": step,
            "unfinished": sorted(path.name for path in run.path.glob("**/.*.tmp")),
            "between_renames": previous.exists() and not newest.exists(),
            "damaged": bool(warnings) and newest.exists(),
            "results": told and [told.st_ino, told.st_mtime_ns],
        }  # fmt: skip
    return found


def began(folder: Path, since: int) -> bool:
    """Whether a start has written something since then, in ns."""
    try:
        return any(path.is_file() and path.stat().st_mtime_ns > since for path in folder.rglob("*"))
    except FileNotFoundError:  # renamed as we looked
        return True


def start(command: str, folder: Path, kill_after: float | None) -> float | None:
    """Start a command, and kill it so many seconds after it began to write; return how long it wrote, or None."""
    words = [sys.executable, "-m", "pretask", *shlex.split(command), "--runs", str(folder.parent)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    since, deadline, writing = time.time_ns(), time.monotonic() + START_SECONDS, None
    with (folder.parent / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*words, "--name", folder.name], stdout=log, stderr=log, start_new_session=True
        )
        try:
            while process.poll() is None:
                now = time.monotonic()
                if writing is None and began(folder, since):
                    writing = now
                if writing is not None and kill_after is not None and now - writing >= kill_after:
                    return None
                if now > deadline:
                    raise Fault(f"a start took more than {START_SECONDS} seconds: {shlex.join(words)}")
                time.sleep(0.002)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode:
        raise Fault(f"a start failed with code {process.returncode}; see {log.name}")
    return time.monotonic() - (writing or time.monotonic())


def compare(whole: Path, killed: Path, notes: list[dict[str, Any]]) -> None:
    """Hold a run or study that was killed against the uninterrupted one, and its results against what kills left.

    Raises:
        Fault: they differ, or results were written again.
    """
    expected, found = outcome(whole), outcome(killed)
    differing = [name for name in expected | found if expected.get(name) != found.get(name)]
    if differing:
        raise Fault(f"after {len(notes)} kills {killed} differs from {whole}: {', '.join(differing)}")
    last = state(killed)
    for note in notes:
        for name, left in note["runs"].items():
            if left["results"] is not None and left["results"] != last[name]["results"]:
                raise Fault(f"{killed}: results of {name} were written again after kill {note['kill']}")


def torment(kind: str, kills: int, seed: int, top: Path) -> dict[str, Any]:
    """Make all kills of a run or study, and compare whatever ends.

    Raises:
        Fault: a start failed, or something differs.
    """
    path, whole = top / f"kills-of-{kind}.json", top / f"whole-{kind}" / kind
    if path.exists():
        book: dict[str, Any] = json.loads(path.read_text())
    else:
        shutil.rmtree(whole.parent, ignore_errors=True)
        seconds = start(COMMANDS[kind], whole, None)
        book = {
            "command": f"pretask {COMMANDS[kind]}", "seed": seed, "seconds": seconds, "complete": 0, "kills": [],
        }  # fmt: skip
    while True:
        write_json(path, book)
        turn, number = book["complete"], len(book["kills"])
        notes = [note for note in book["kills"] if note["turn"] == turn]
        if number >= kills and not notes:
            return book
        killed = top / f"{kind}-{turn}" / kind
        # A generator for each kill, so that one who goes on draws what he would have drawn.
        after = random.Random(f"{seed} {kind} {number} {turn}").uniform(0, book["seconds"])
        took = start(COMMANDS[kind], killed, after if number < kills else None)
        if took is None:
            left = state(killed)
            if not notes and left and all(run["results"] for run in left.values()):
                # The machine is less busy than it was: kills are to fall into the work.
                book["seconds"] = after
            book["kills"].append({"kill": number + 1, "turn": turn, "seconds": after, "runs": left})
            print(f"{kind}: kill {number + 1} of {kills}, {after:.2f} s, {told(left)}", flush=True)
        else:
            compare(whole, killed, notes)
            print(f"{kind}: ended after {len(notes)} kills, and equals the uninterrupted one", flush=True)
            shutil.rmtree(killed.parent)
            book["complete"] += 1


def told(runs: dict[str, Any]) -> str:
    """Return what a kill left in few words."""
    parts = []
    for left in runs.values():
        if left["results"]:
            parts.append("finished")
        else:
            flags = [*left["unfinished"], *(key for key in ("between_renames", "damaged") if left[key])]
            parts.append(" ".join([f"step {left['step']}", *flags]))
    return "; ".join(parts) or "nothing yet"


def main() -> None:
    """Kill, compare, and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills-of-run", type=int, default=50)
    parser.add_argument("--kills-of-study", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("random-kills"))
    args = parser.parse_args()
    for kind, kills in (("run", args.kills_of_run), ("study", args.kills_of_study)):
        if not kills:
            continue
        book = torment(kind, kills, args.seed, args.folder)
        left = [run for kill in book["kills"] for run in kill["runs"].values()]
        writing = sum(any(".state." in name for name in run["unfinished"]) for run in left)
        others = sum(any(".state." not in name for name in run["unfinished"]) for run in left)
        between, damaged = (sum(run[key] for run in left) for key in ("between_renames", "damaged"))
        print(
            f"{kind}: {len(book['kills'])} kills, {book['complete']} completed, all equal; unfinished checkpoints "
            f"{writing}, between the renames {between}, other unfinished files {others}, damaged checkpoints {damaged}"
        )


if __name__ == "__main__":
    main()
