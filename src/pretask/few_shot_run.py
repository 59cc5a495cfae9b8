"""One training by episodes, from its configuration to its results on new classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from pretask.config.sections import FewShotConfig
from pretask.data.splits.classes import ClassSplit
from pretask.evaluation.few_shot import EpisodeJudge
from pretask.methods import load_part, save_encoder
from pretask.methods.episodic import EpisodicMethod
from pretask.training.build import fix_version
from pretask.training.build_episodes import (
    build_class_split,
    build_episodic,
    episode_loader,
    episode_size,
    episodic_card,
    episodic_header,
    resolve_episodes,
)
from pretask.training.loop import fit
from pretask.training.optim import training_length
from pretask.training.step import check_pieces
from pretask.training.weights import check_sharding
from pretask.workplace import join_processes, open_workplace

VALIDATION_SHARE = 3
"""Selection takes a third of the test's episodes."""


def train_few_shot(
    config: FewShotConfig, split: ClassSplit | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Train a backbone by episodes, or go on with a run that was stopped, and try it on classes it has never seen.

    Args:
        config: the run; what it leaves open is decided and saved.
        split: in place of what `config.data.data` names.
        console: where header and progress are printed; nothing is printed without one.

    Returns:
        the content of `results.json`, with "folder"; "few_shot" has the figures of each inference on test classes.

    Raises:
        PretaskError: as `train`; too few classes or images for an episode.
        Interrupted: the user stopped the run.
    """
    if split is None:
        join_processes(config)
        config = fix_version(config)
        split = build_class_split(config)
    place = open_workplace(config, f"few-shot-{config.episodes.head}", split.train, console)
    folder, device = place.folder, place.accelerator.device
    opened = folder.open(place.asked)
    config = resolve_episodes(opened, split, place.device)
    if (results := place.finished()) is not None:
        return results

    asked, seed = config.episodes, config.session.seed
    size = episode_size(config)
    test = EpisodeJudge(split.test, size, asked.test_episodes, 0, device)
    fewer = max(1, asked.test_episodes // VALIDATION_SHARE)
    validation = EpisodeJudge(split.validation, size, fewer, 1, device)
    method = build_episodic(config, split)
    inferences = ("aggregated", "single") if method.views > 1 else ("single",)
    loader = episode_loader(config, split, place.accelerator)
    check_pieces(config.optim.accumulate, method, loader)
    check_sharding(config.session, method, place.accelerator.num_processes)
    place.begin(config, episodic_header(config, split, method, loader, place.accelerator, opened.session))

    def save(trained: EpisodicMethod, path: Path) -> None:
        save_encoder(path, trained.encoder, episodic_card(config, split), {"episodes": trained.head})

    try:
        method, position = fit(
            method,
            loader,
            config,
            folder,
            place.accelerator,
            lambda trained: {inferences[0]: validation(trained, inferences[0])},
            save,
            place.console,
            folder.path.name,
        )
    finally:
        loader.close()
    method.backbone.load_state_dict(load_part(folder.path, "backbone"))
    method.head.load_state_dict(load_part(folder.path, "episodes"))
    epochs, _ = training_length(config.optim, len(loader))
    return place.end(
        {
            "method": f"few-shot-{asked.head}",
            "pretexts": list(asked.pretexts),
            "inferences": {},
            "few_shot": {name: test(method, name) for name in inferences},
            "protocol": test.protocol,
            "selection": config.session.selection,
            "selected_epoch": position.selected_epoch,
            "epochs": epochs,
            "seed": seed,
            "data": split.train.facts(),
            "classes": {
                name: list(part.class_names)
                for name, part in (
                    ("train", split.train),
                    ("validation", split.validation),
                    ("test", split.test),
                )
            },
            "backbone": method.backbone.facts.summary(),
            **place.costs(position, method.passes_per_image),
        }
    )
