"""One pre-training, from its configuration to a backbone on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rich.console import Console

from pretask.config.sections import PretrainConfig
from pretask.data import ImageData
from pretask.evaluation.embeddings import EmbeddingWatch
from pretask.methods import save_encoder
from pretask.pretraining import Objective
from pretask.training.build_pretraining import build_objective, encoder_card, resolve_pretraining
from pretask.training.header import pretraining_header
from pretask.training.loop import fit
from pretask.training.optim import training_length
from pretask.training.run_folder import RunFolder
from pretask.training.snapshot import Position
from pretask.training.step import check_pieces
from pretask.training.weights import check_sharding
from pretask.workplace import open_workplace


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
    place = open_workplace(config, config.pretraining.method, data, console)
    folder, split = place.folder, place.data
    opened = folder.open(place.asked)
    config = resolve_pretraining(opened, split, place.device)
    if (results := place.finished()) is not None:
        return results

    objective = build_objective(config, split)
    loader = place.loader(config)
    check_pieces(config.optim.accumulate, objective, loader)
    check_sharding(config.session, objective, place.accelerator.num_processes)
    place.begin(
        config, pretraining_header(config, split, objective, loader, place.accelerator, opened.session)
    )
    watch = EmbeddingWatch(split, place.accelerator.device, config.session.seed, place.console)
    try:
        objective, position = fit(
            objective,
            loader,
            config,
            folder,
            place.accelerator,
            watch,
            lambda trained, path: save_encoder(path, trained.encoder, encoder_card(config, split, trained)),
            place.console,
            folder.path.name,
        )
    finally:
        loader.close()
    results = _results(config, split, objective, folder, len(loader))
    return place.end({**results, **place.costs(position, objective.passes_per_image)})


def _results(
    config: PretrainConfig,
    data: ImageData,
    objective: Objective,
    folder: RunFolder,
    steps: int,
) -> dict[str, Any]:
    epochs, _ = training_length(config.optim, steps)
    looks = [record["validation"] for record in folder.read_metrics() if "validation" in record]
    return {
        "method": config.pretraining.method,
        "base": objective.base_name,
        "inferences": {},
        "selection": "last",
        "embeddings": looks[-1] if looks else {},
        "epochs": epochs,
        "seed": config.session.seed,
        "data": data.facts(),
        "backbone": objective.backbone.facts.summary(),
        "reconstruction": objective.reconstruction,
    }


def save_untrained(config: PretrainConfig, data: ImageData | None = None) -> dict[str, Any]:
    """Leave a backbone with the random weights that a pre-training of the same seed begins with, as a finished run.

    It is the control of every pre-training: what probes and fine-tuning make of no training at all.

    Args:
        config: as for `pretrain`; its objective and schedule are not used.
        data: see `pretrain`.

    Returns:
        the content of `results.json`, with "folder".

    Raises:
        PretaskError, MissingExtra: see `pretrain`.
    """
    place = open_workplace(config, "random", data, None)
    config = resolve_pretraining(place.folder.open(place.asked), place.data, place.device)
    if (results := place.finished()) is not None:
        return results
    objective = build_objective(config, place.data)
    place.begin(config, [])
    card = replace(encoder_card(config, place.data, objective), method="random")
    save_encoder(place.folder.path, objective.encoder, card)
    results = _results(config, place.data, objective, place.folder, len(place.loader(config)))
    return place.end({**results, "method": "random", "epochs": 0, **place.costs(Position(), 1.0)})
