"""What this machine does with a training step, how far from its limit, and against a plain loop."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.speed.ceilings import CeilingProbe, Ceilings, interleave, ratio
from pretask.speed.plain_loop import OwnProcess, PlainLoop, pil_batches
from pretask.speed.steps import TrainingSteps, Work, made_up_data
from pretask.studies.plan import parse_variants
from pretask.training.data import build_data
from pretask.training.device import hardware, peak_memory, prepare_host, resolve_device, resolve_precision
from pretask.training.display import say
from pretask.training.guest import as_guest
from pretask.training.run_folder import describe_environment

SIDE, CHANNELS, CLASSES, BATCHES = 32, 3, 10, 8
LOADER_BATCHES = 40
"""Batches that a loader makes in a round: many times what its workers hold ready at the start."""
_REST = 0.3  # seconds in which workers fill their queues, and then leave the CPU to others
PLAIN_LOOP, RESIDENT, DATALOADER = "plain loop", "loader of the run", "torchvision + DataLoader"
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@as_guest()
def measure_speed(
    config: RunConfig,
    methods: tuple[str, ...] = ("baseline", "sla"),
    rounds: int = 5,
    per_round: int = 4,
    plain: bool = True,
    own_data: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Time training steps of some methods, interleaved, against the machine's ceilings and a plain loop.

    Args:
        config: backbone, batch, image size and whatever else a run has.
        methods: as in a study, with settings of their own where wanted; the first is what others are compared with.
        rounds: how often each piece is timed, after one round that does not count.
        per_round: steps in each.
        plain: whether to time the plain loop and its loader too.
        own_data: train on the images that the configuration names instead of made-up ones.
        console: where progress is printed.

    Returns:
        {"command", "machine", "settings", "ceilings", "steps", "loaders", "peak_memory"}: seconds are medians over
        rounds, ratios come with quartiles over rounds.

    Raises:
        PretaskError: no such device or method, a count below 1, or parts that do not suit each other.
    """
    if rounds < 1 or per_round < 1:
        raise PretaskError(
            f"{rounds} rounds of {per_round} steps time nothing: type --rounds 5 --per-round 4"
        )
    device = resolve_device(config.session.device)
    prepare_host(config.session.threads, device)
    data = build_data(config) if own_data else _made_up(config)
    # Once for all methods, which would else be compared in one precision and another where the decision is close.
    config = override(config, precision=resolve_precision(config.session.precision, device))
    pieces = {v.name: TrainingSteps(v.config(config), data, device) for v in parse_variants(methods, config)}
    first = next(iter(pieces.values()))
    loop = _plain_loop(pieces, data, device) if plain else None
    try:
        say(console, "steps are being timed")
        ceilings, steps = _steps(pieces, loop, rounds, per_round, device)
        loaders = _loaders(first, data, rounds) if plain else {}
    finally:
        for piece in pieces.values():
            piece.close()
        if loop is not None:
            loop.close()
    environment = describe_environment(hardware(device))
    return {
        "command": environment.pop("command"),
        "machine": environment,
        "settings": {
            "backbone": first.config.backbone.backbone,
            "batch_size": config.optim.batch_size,
            "image_size": list(data.image_size),
            "channels": data.channels,
            "rounds": rounds,
            "steps_per_round": per_round,
            "data": data.name,
        },
        "ceilings": {precision: asdict(found) for precision, found in ceilings.items()},
        "steps": steps,
        "loaders": loaders,
        "peak_memory": peak_memory(device),
    }


def _steps(
    pieces: dict[str, TrainingSteps],
    loop: OwnProcess | None,
    rounds: int,
    per_round: int,
    device: torch.device,
) -> tuple[dict[str, Ceilings], list[dict[str, Any]]]:
    """Time steps and ceilings in turn.

    Returns:
        the ceilings for each precision that is at work, and a row for each piece, the plain loop last.
    """
    work = {name: piece.count() for name, piece in pieces.items()}
    at_work: dict[str, None] = dict.fromkeys(piece.config.session.precision for piece in pieces.values())
    probes = {precision: CeilingProbe(device, _TYPES[precision]) for precision in at_work}
    calls = {name: _repeated(piece.step, per_round) for name, piece in pieces.items()}
    if loop is not None:
        calls[PLAIN_LOOP] = _repeated(loop.step, per_round)
    calls |= {f"ceilings {precision}": probe.measure for precision, probe in probes.items()}
    seconds = interleave(calls, rounds, device, rest=0.0 if loop is None else _REST)
    ceilings = {precision: probe.best for precision, probe in probes.items()}
    reference = seconds[next(iter(pieces))]
    rows = [
        _row(name, seconds[name], reference, per_round, piece.images)
        | _against_ceiling(statistics.median(seconds[name]) / per_round, work[name], piece, ceilings)
        for name, piece in pieces.items()
    ]
    if loop is not None:
        ours = _compared_with_plain(pieces)
        plain = _row(PLAIN_LOOP, seconds[PLAIN_LOOP], reference, per_round, pieces[ours].images)
        slower = asdict(ratio(seconds[PLAIN_LOOP], seconds[ours]))
        rows.append(plain | {"compared_with": ours, "slower_by": slower})
    return ceilings, rows


def _compared_with_plain(pieces: dict[str, TrainingSteps]) -> str:
    """Return the piece that the plain loop does the work of: joint labels where they are timed, else the first."""
    joint = (name for name, piece in pieces.items() if piece.config.method.method == "sla")
    return next(joint, next(iter(pieces)))


def _made_up(config: RunConfig) -> ImageData:
    asked = config.data
    count = config.optim.batch_size * BATCHES
    return made_up_data(count, CLASSES, asked.channels or CHANNELS, asked.image_size or SIDE)


def _repeated(step: Callable[[], object], count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(count):
            step()

    return run


def _row(
    name: str, taken: Sequence[float], reference: Sequence[float], per_round: int, images: int
) -> dict[str, Any]:
    step = statistics.median(taken) / per_round
    return {
        "method": name,
        "step_seconds": step,
        "images_per_second": images / step,
        "cost": asdict(ratio(taken, reference)),
    }


def _against_ceiling(
    step: float, work: Work, piece: TrainingSteps, ceilings: dict[str, Ceilings]
) -> dict[str, Any]:
    session = piece.config.session
    bound = ceilings[session.precision].bound(work.flops, work.nbytes)
    return {
        "passes": piece.method.passes_per_image,
        "precision": session.precision,
        "compile": session.compile,
        "flops": work.flops,
        "nbytes": work.nbytes,
        "bound_seconds": bound,
        "share_of_ceiling": bound / step,
        "wait_share": piece.wait_share,
    }


def _pixels(data: ImageData, count: int) -> tuple[Tensor, Tensor]:
    """Return images uint8 [n, C, H, W] of the data, as the plain loop holds them, and labels."""
    rows = torch.arange(min(count, len(data.train)))
    images = torch.stack([data.train.images.fitted(int(row), data.image_size) for row in rows])
    return images, data.train.labels[rows]


def _plain_loop(pieces: dict[str, TrainingSteps], data: ImageData, device: torch.device) -> OwnProcess:
    """Return the plain loop in a process of its own, where memory is handed out as it is by default."""
    config = pieces[_compared_with_plain(pieces)].config
    images, labels = _pixels(data, config.optim.batch_size * BATCHES)
    make = partial(
        PlainLoop, config.backbone.backbone, images, labels, config.optim.batch_size, device,
        joint=config.method.method == "sla",
    )  # fmt: skip
    return OwnProcess(make, torch.get_num_threads())


def _loaders(piece: TrainingSteps, data: ImageData, rounds: int) -> dict[str, Any]:
    """Time batches alone, cropped, mirrored and normalised: the run's loader against one image at a time."""
    size = piece.config.optim.batch_size
    normalize = piece.method.encoder.normalize
    plain = pil_batches(*_pixels(data, size * BATCHES), size, workers=2)

    calls = {
        RESIDENT: _repeated(lambda: normalize(next(piece.batches).images), LOADER_BATCHES),
        DATALOADER: _repeated(lambda: next(plain), LOADER_BATCHES),
    }
    seconds = interleave(calls, rounds, piece.device, rest=_REST)
    return {
        name: {"images_per_second": LOADER_BATCHES * size / statistics.median(taken)}
        for name, taken in seconds.items()
    } | {"faster_by": asdict(ratio(seconds[DATALOADER], seconds[RESIDENT]))}
