"""The state of a training at one step: everything a bit-exact resume needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from pretask.errors import PretaskError
from pretask.io.documents import one_line
from pretask.training.checkpoint import Checkpoints, misfit
from pretask.training.step import Meter
from pretask.training.weights import T, Weights

_PARTS = {"method", "optimizer", "average", "position", "ranks"}


@dataclass
class Position:
    """How far a training has come.

    Attributes:
        epoch: epochs that are over.
        batch: batches that are over of the next one.
        step: steps in all.
        images: that were passed, of all processes.
        work: the same in images of full size: one on which a step saw a quarter of the pixels is a quarter.
        seconds: in training.
        waited: of these, for images.
        best_score: of the weights that are selected.
        selected_epoch: after which they were.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    images: int = 0
    work: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    best_score: float = -math.inf
    selected_epoch: int = 0

    def selects(self, epoch: int, last: bool, scores: dict[str, dict[str, Any]] | None) -> bool:
        """Whether the weights after `epoch` are to be kept: the best ones, or without scores those of the last one.

        The first inference's "top1" decides; what is selected is noted.
        """
        if scores is None:
            chosen = last
        else:
            score = next(iter(scores.values()))["top1"]
            if chosen := score > self.best_score:
                self.best_score = score
        if chosen:
            self.selected_epoch = epoch
        return chosen


def save_snapshot(
    checkpoints: Checkpoints, weights: Weights[T], position: Position, meter: Meter, accelerator: Accelerator
) -> None:
    """Write weights, optimiser, average, position, and each rank's random state and sums, at once or not at all.

    Every rank must call this.
    """
    own = {"cpu": torch.get_rng_state(), "meter": meter.state()}
    if accelerator.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(accelerator.device)
    elif accelerator.device.type == "mps":
        own["mps"] = torch.mps.get_rng_state()
    ranks = gather_object([own]) if accelerator.num_processes > 1 else [own]
    tree = {
        **weights.state(keep=accelerator.is_main_process),
        "position": {**asdict(position), "best_score": str(position.best_score)},
        "ranks": ranks,
    }
    if accelerator.is_main_process:
        checkpoints.save(tree)
    accelerator.wait_for_everyone()


def restore_snapshot(
    checkpoints: Checkpoints,
    weights: Weights[T],
    accelerator: Accelerator,
    warn: Callable[[str], object],
) -> tuple[Position, Meter]:
    """Put the newest whole snapshot back into the parts of a training, and return where it stood.

    Args:
        checkpoints: of the run.
        weights: what is restored.
        accelerator: of this process.
        warn: is called with one line where the newest is damaged and the one before it is taken.

    Raises:
        PretaskError: no whole snapshot, another number of processes, or another architecture.
    """
    folder = checkpoints.newest.parent
    tree = checkpoints.load(warn)
    if not isinstance(tree, dict) or set(tree) != _PARTS or not isinstance(tree["ranks"], list):
        raise _no_checkpoint(folder)
    if len(tree["ranks"]) != accelerator.num_processes:
        raise PretaskError(
            f"{folder.parent} was trained by {len(tree['ranks'])} processes, now there are "
            f"{accelerator.num_processes}: resume with the same number"
        )
    try:
        weights.load(tree)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PretaskError(
            f"the checkpoint in {folder} is of another architecture ({str(error).splitlines()[0]}): "
            "give another --name"
        ) from None
    own = tree["ranks"][accelerator.process_index]
    try:
        position, meter = _position(tree["position"]), _meter(own, accelerator.device)
        torch.set_rng_state(own["cpu"])
        if "cuda" in own:
            torch.cuda.set_rng_state(own["cuda"], accelerator.device)
        if "mps" in own:
            torch.mps.set_rng_state(own["mps"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_checkpoint(folder, f" ({one_line(error)})") from None
    return position, meter


def _no_checkpoint(folder: Path, why: str = "") -> PretaskError:
    return PretaskError(f"{folder} holds no checkpoint of a training{why}: delete it to start the run again")


def _position(saved: Any) -> Position:
    """Return where a training stood.

    Raises:
        ValueError: that is no place in a training.
    """
    saved = {"work": saved["images"], **saved}  # older checkpoints count images alone
    if fault := misfit(saved, {**asdict(Position()), "best_score": ""}, "position"):
        raise ValueError(fault)
    score = float(saved["best_score"])
    if math.isnan(score):
        raise ValueError("position.best_score is no number")
    return Position(**{**saved, "best_score": score})


def _meter(own: Any, device: torch.device) -> Meter:
    """Return the sums of a rank.

    Raises:
        ValueError, KeyError, TypeError: they are no sums.
    """
    saved = own["meter"]
    if fault := misfit(saved["sums"], dict.fromkeys(saved["sums"], torch.zeros(())), "meter.sums"):
        raise ValueError(fault)
    if fault := misfit(saved["steps"], 0, "meter.steps"):
        raise ValueError(fault)
    return Meter.restored(saved, device)
