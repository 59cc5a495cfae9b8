"""One pre-training, from its configuration to a backbone on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from pretask.data import ImageData
from pretask.evaluation.embeddings import EmbeddingWatch
from pretask.files import write_json
from pretask.methods import save_encoder
from pretask.pretraining import Objective
from pretask.reports import write_run_report
from pretask.training.build import build_data, build_loader, split_data
from pretask.training.build_pretraining import build_objective, encoder_card, resolve_pretraining
from pretask.training.device import hardware, peak_memory, prepare_host, resolve_device
from pretask.training.display import in_minutes, say
from pretask.training.header import pretraining_header
from pretask.training.loop import fit
from pretask.training.optim import training_length
from pretask.training.pretrain_config import PretrainConfig
from pretask.training.ranges import check_ranges
from pretask.training.run_folder import RunFolder, describe_environment, run_name
from pretask.training.snapshot import Position


def pretrain(
    config: PretrainConfig, data: ImageData | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Train a backbone without labels, or go on with a run that was stopped, and return its results.

    Labels shape the splits, and where there are some the neighbours of embeddings are counted by class while the
    training goes on; nothing is learned or selected from them.

    Args:
        config: the run; what it leaves open is decided and saved.
        data: in place of what `config.data.data` names; the configuration's splits are applied to it.
        console: where header, progress and warnings are printed; nothing is printed without one.

    Returns:
        the content of `results.json`, with "folder".

    Raises:
        PretaskError: as `train`; fewer than two images in a batch.
        MissingExtra: `lightly` or `kornia` is not installed.
        Interrupted: the user stopped the run.
    """
    check_ranges(config)
    device = resolve_device(config.session.device)
    prepare_host(config.session.threads, device)
    accelerator = Accelerator(cpu=device.type == "cpu")
    console = console if accelerator.is_main_process else None
    data = split_data(data, config) if data is not None else build_data(config)
    folder = RunFolder(
        Path(config.session.runs) / run_name(config.session, config.pretraining.method, data.name)
    )
    config = resolve_pretraining(folder.open(config), data, device)
    if folder.finished:
        say(console, f"{folder.path} is finished: its results are read, not made again")
        return {**folder.read_results(), "folder": str(folder.path)}

    objective = build_objective(config, data)
    loader = build_loader(
        config, data, accelerator.device, accelerator.process_index, accelerator.num_processes
    )
    if accelerator.is_main_process:
        folder.start(config, describe_environment(hardware(device)))
    accelerator.wait_for_everyone()
    for line in pretraining_header(config, data, objective, loader, accelerator):
        say(console, line)

    watch = EmbeddingWatch(data, accelerator.device, config.session.seed, console)
    try:
        objective, position = fit(
            objective,
            loader,
            config,
            folder,
            accelerator,
            watch,
            lambda trained, path: save_encoder(path, trained.encoder, encoder_card(config, data, trained)),
            console,
            folder.path.name,
        )
    finally:
        loader.close()
    results = _results(config, data, objective, position, folder, len(loader), accelerator.device)
    if accelerator.is_main_process:
        write_json(folder.results, results)
        write_run_report(folder.path)
        say(console, f"finished: {folder.path} ({in_minutes(position.seconds)} of training)")
    accelerator.wait_for_everyone()
    return {**results, "folder": str(folder.path)}


def _results(
    config: PretrainConfig,
    data: ImageData,
    objective: Objective,
    position: Position,
    folder: RunFolder,
    steps: int,
    device: torch.device,
) -> dict[str, Any]:
    epochs, _ = training_length(config.optim, steps)
    looks = [record["validation"] for record in folder.read_metrics() if "validation" in record]
    return {
        "method": config.pretraining.method,
        "base": objective.parts.base,
        "inferences": {},
        "selection": "last",
        "embeddings": looks[-1] if looks else {},
        "epochs": epochs,
        "seed": config.session.seed,
        "data": data.facts(),
        "backbone": objective.backbone.facts.summary(),
        "reconstruction": objective.reconstruction,
        "command": describe_environment({})["command"],
        "seconds": position.seconds,
        "images_per_second": position.images / max(position.seconds, 1e-9),
        "wait_share": position.waited / max(position.seconds, 1e-9),
        "images": position.images,
        "passes": objective.passes_per_image,
        "work_images": position.images * objective.passes_per_image,
        "peak_memory": peak_memory(device),
    }
