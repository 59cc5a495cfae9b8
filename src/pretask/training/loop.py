"""The training loop, to be read from top to bottom.

Points where the host waits for the device: every `log_every` steps (loss and accuracy), at each checkpoint, and at
the end of an epoch. Nothing else in a step waits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.console import Console
from torch import Tensor, nn

from pretask.config.sections import OptimConfig, SessionConfig
from pretask.data.loaders.loader import Loader
from pretask.distributed.processes import Agreement
from pretask.errors import Interrupted, PretaskError
from pretask.io.signals import stop_requests
from pretask.training.display import Display, say
from pretask.training.optim import HeadStart, lr_schedule, set_lr, training_length
from pretask.training.profiling import StepProfile
from pretask.training.run_folder import RunFolder
from pretask.training.snapshot import Position, restore_snapshot, save_snapshot
from pretask.training.step import Meter, add_gradient, compile_method
from pretask.training.weights import T, place_weights

Prepare = Callable[[T, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Changes the images and labels of a step before the method sees them."""
Validate = Callable[[T], dict[str, dict[str, Any]]]
"""Metrics per inference of the method as it stands; the first inference's "top1" selects, where one selects."""
Save = Callable[[T, Path], None]
"""Writes what is kept of the method into a folder."""

_MOST_MOMENTUM = 0.5
"""Of batch norm, whose statistics are never of one batch alone."""
_REACH = 10
"""Batch norm's running statistics reach back over one part in so many of a training's steps, if not over fewer."""


def fit(
    method: T, loader: Loader, optim: OptimConfig, session: SessionConfig, folder: RunFolder,
    accelerator: Accelerator, validate: Validate[T] | None, save: Save[T], console: Console | None,
    prepare: Prepare[T] | None = None,
) -> tuple[T, Position]:  # fmt: skip
    """Train a method, or resume a training that was stopped.

    The weights that score best in `validate` go to the run folder through `save`; without `validate`, or where the
    configuration selects the last, the last.

    Returns:
        the method with its last weights (averaged ones under EMA), and where the training ended.

    Raises:
        PretaskError: the loss is not finite, or the checkpoint does not fit.
        Interrupted: on SIGINT or SIGTERM, after a checkpoint.
    """
    epochs, total = training_length(optim, len(loader))
    learning_rate = lr_schedule(optim, len(loader), total)
    selecting = validate is not None and session.selection != "last"

    weights = place_weights(method, optim, session, accelerator)
    method, optimizer, average = weights.method, weights.optimizer, weights.average
    position, meter = Position(), Meter()
    torch.manual_seed(session.seed + 7919 * accelerator.process_index)  # ranks draw different views
    if accelerator.is_main_process:
        folder.remove_unfinished()
    if folder.checkpoints.exist:
        position, meter = restore_snapshot(folder.checkpoints, weights, accelerator, partial(say, console))
    if accelerator.is_main_process:
        folder.truncate_metrics(position.epoch)
    if not method.backbone.facts.pretrained:
        follow_sooner(method, total)
    compile_method(method, session.compile)
    model: nn.Module = method if session.shard_weights else accelerator.prepare_model(method)
    head_start = HeadStart(
        method, round(optim.head_epochs * len(loader)), alone=accelerator.num_processes == 1
    )
    agree = Agreement()
    profiled = session.profile if accelerator.is_main_process else 0

    def require_sound() -> None:
        _require_finite(meter.means().get("loss", 0.0), position, optim.lr)
        _require_finite(weights.norm(), position, optim.lr)

    def checkpoint() -> None:
        require_sound()
        save_snapshot(folder.checkpoints, weights, position, meter, accelerator)

    with (
        Display(console, folder.path.name, total, position.step, session.max_seconds) as display,
        stop_requests() as stop_requested,
        StepProfile(profiled, folder.path, accelerator.device) as profile,
    ):
        saved_at, rate = time.perf_counter(), learning_rate(max(0, position.step - 1))
        for epoch in range(position.epoch, epochs):
            if epoch > 0 and position.batch == 0 and _share_of_time(session, position) >= 1:
                break
            model.train()
            clock = time.perf_counter()
            started, seen, waited = clock, position.images, position.waited
            for batch in profile.batches(loader.epoch(epoch, start=position.batch)):
                position.waited += time.perf_counter() - clock
                head_start.begin(position.step)
                late = min(total - 1, int(total * _share_of_time(session, position)))
                at = max(position.step, late)  # where schedules stand: the clock may be ahead of the steps
                rate = learning_rate(at)
                set_lr(optimizer, rate)
                method.set_progress(at / total)
                images, labels = batch.images, batch.labels
                if prepare is not None:
                    images, labels = prepare(method, images, labels)
                parts = add_gradient(model, images, labels, optim.accumulate, session, accelerator, profile)
                with profile.phase("update"):
                    head_start.drop_gradient()
                    if optim.clip_grad_norm is not None:
                        accelerator.clip_grad_norm_(model.parameters(), optim.clip_grad_norm)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                position.step += 1
                position.batch += 1
                counted = len(batch.labels) * accelerator.num_processes
                position.images += counted
                position.work += counted * (_pixels(images) / _pixels(batch.images))
                if average is not None:
                    average.update(method, step=position.step)
                meter.add(parts)
                profile.step()

                now = time.perf_counter()
                position.seconds += now - clock
                if position.step % session.log_every == 0:
                    means = meter.means()
                    _require_finite(means["loss"], position, optim.lr)
                    display.step(position.step, means, (position.images - seen) / (now - started))
                stop, save_now = agree(stop_requested(), _due(session, position.step, now - saved_at))
                if stop:
                    checkpoint()
                    raise _interrupted(position, total)
                if save_now:
                    checkpoint()
                    saved_at = time.perf_counter()
                if position.step == total or _share_of_time(session, position) >= 1:
                    break
                clock = time.perf_counter()

            require_sound()
            ends = epoch + 1 == epochs or _share_of_time(session, position) >= 1
            means = _over_ranks(meter, accelerator)
            elapsed = time.perf_counter() - started
            record: dict[str, Any] = {
                "epoch": epoch + 1, "step": position.step, "lr": rate, "train": means,
                "images_per_second": (position.images - seen) / elapsed,
                "wait_share": (position.waited - waited) / elapsed, "seconds": position.seconds,
            }  # fmt: skip
            if (epoch + 1) % session.eval_every == 0 or ends:
                with weights.evaluated() as evaluated:
                    if validate is not None:
                        record["validation"] = validate(evaluated)
                    if position.selects(epoch + 1, ends, record["validation"] if selecting else None):
                        _on_main(accelerator, partial(save, evaluated, folder.path))
            if accelerator.is_main_process:
                folder.append_metrics(record)
            display.epoch(record, epochs)
            position.epoch, position.batch, meter = epoch + 1, 0, Meter()
            overdue = time.perf_counter() - saved_at >= session.checkpoint_seconds
            at_epochs = ends or session.checkpoint_steps is not None
            if any(agree(overdue, at_epochs)):
                checkpoint()
                saved_at = time.perf_counter()
        # Asked to stop in the last validation: what is left is no training, but takes its time.
        if any(agree(stop_requested())):
            raise _interrupted(position, total)
    return weights.last(), position


def follow_sooner(method: nn.Module, steps: int) -> None:
    """Let the running statistics of batch norm follow the weights in a training of few steps.

    By 0.1 of each batch they would still hold what the network was at the start: in evaluation a network that has
    learned its images then answers at random.
    """
    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
            module.momentum = max(module.momentum, min(_MOST_MOMENTUM, _REACH / steps))


def _interrupted(position: Position, total: int) -> Interrupted:
    return Interrupted(f"stopped after step {position.step} of {total}; the same command resumes it")


def _share_of_time(session: SessionConfig, position: Position) -> float:
    """Return how much of the time that a training may take is used; 0 where it has no limit."""
    return 0.0 if session.max_seconds is None else position.seconds / session.max_seconds


def _pixels(images: Tensor) -> int:
    return images.shape[-2] * images.shape[-1]


def _due(session: SessionConfig, step: int, since: float) -> bool:
    """Whether a checkpoint is due within an epoch: by steps where they are given, else by time."""
    if session.checkpoint_steps is not None:
        return step % session.checkpoint_steps == 0
    return since >= session.checkpoint_seconds


def _on_main(accelerator: Accelerator, act: Callable[[], None]) -> None:
    if accelerator.is_main_process:
        act()
    accelerator.wait_for_everyone()


def _over_ranks(meter: Meter, accelerator: Accelerator) -> dict[str, float]:
    means = meter.means()
    if accelerator.num_processes == 1:
        return means
    all_means = gather_object([means])
    return {name: sum(m[name] for m in all_means) / len(all_means) for name in means}


def _require_finite(value: float, position: Position, lr: float) -> None:
    """Stop where the loss, or the norm of the weights that a checkpoint would hold, is no number."""
    if not math.isfinite(value):
        raise PretaskError(
            f"the loss or the weights became {value} by step {position.step} at learning rate {lr:g}: "
            "type a smaller --lr or --clip-grad-norm 1; the last good checkpoint is kept"
        )
