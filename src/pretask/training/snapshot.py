"""The state of a training at one step: everything a bit-exact resume needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from pretask.errors import PretaskError
from pretask.methods import Trainee
from pretask.training.checkpoint import Checkpoints, load_optimizer_state
from pretask.training.meter import Meter

if TYPE_CHECKING:
    from timm.utils.model_ema import ModelEmaV3

_PARTS = {"method", "optimizer", "average", "position", "ranks"}


@dataclass
class Position:
    """How far a training has come."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    best_score: float = -math.inf
    selected_epoch: int = 0


def save_snapshot(
    checkpoints: Checkpoints, method: Trainee, optimizer: torch.optim.Optimizer, average: ModelEmaV3 | None,
    position: Position, meter: Meter, accelerator: Accelerator,
) -> None:  # fmt: skip
    """Write weights, optimiser, average, position, and each rank's random state and sums, at once or not at all.

    Every rank must call this.
    """
    own = {"cpu": torch.get_rng_state(), "meter": meter.state()}
    if accelerator.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(accelerator.device)
    ranks = gather_object([own]) if accelerator.num_processes > 1 else [own]
    tree = {
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.module.state_dict() if average is not None else None,
        "position": {**asdict(position), "best_score": str(position.best_score)},
        "ranks": ranks,
    }
    if accelerator.is_main_process:
        checkpoints.save(tree)
    accelerator.wait_for_everyone()


def restore_snapshot(
    checkpoints: Checkpoints,
    method: Trainee,
    optimizer: torch.optim.Optimizer,
    average: ModelEmaV3 | None,
    accelerator: Accelerator,
    warn: Callable[[str], object],
) -> tuple[Position, Meter]:
    """Put the newest whole snapshot back into the parts of a training, and return where it stood.

    Args:
        checkpoints: of the run.
        method, optimizer, average: what is restored.
        accelerator: of this process.
        warn: is told where the newest is damaged and the one before it is taken.

    Raises:
        PretaskError: no whole snapshot, another number of processes, or another architecture.
    """
    folder = checkpoints.newest.parent
    tree = checkpoints.load(warn)
    if set(tree) != _PARTS:
        raise PretaskError(f"{folder} holds no checkpoint of a training: delete it to start the run again")
    if len(tree["ranks"]) != accelerator.num_processes:
        raise PretaskError(
            f"{folder.parent} was trained by {len(tree['ranks'])} processes, now there are "
            f"{accelerator.num_processes}: resume with the same number"
        )
    try:
        method.load_state_dict(tree["method"])
        load_optimizer_state(optimizer, tree["optimizer"])
        if average is not None:
            average.module.load_state_dict(tree["average"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise PretaskError(
            f"the checkpoint in {folder} is of another architecture ({str(error).splitlines()[0]}): "
            "give another --name"
        ) from None
    own = tree["ranks"][accelerator.process_index]
    torch.set_rng_state(own["cpu"])
    if "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"], accelerator.device)
    position = Position(**{**tree["position"], "best_score": float(tree["position"]["best_score"])})
    return position, Meter.restored(own["meter"], accelerator.device)
