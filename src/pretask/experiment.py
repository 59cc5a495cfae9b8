"""One run, from its configuration to its results: build, train, select, evaluate, write down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pretask.config.files import load_any_config
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.evaluation.accuracy import Accuracy, evaluate_split
from pretask.methods import Method, load_classifier, save_model
from pretask.training.build import build_method, model_card, passes_per_image, resolve
from pretask.training.header import header
from pretask.training.loop import fit
from pretask.training.optim import training_length
from pretask.training.preparation import make_preparation
from pretask.training.run_folder import RunFolder
from pretask.training.snapshot import Position
from pretask.training.step import check_pieces
from pretask.training.weights import check_sharding
from pretask.workplace import open_workplace


def train(config: RunConfig, data: ImageData | None = None, console: Console | None = None) -> dict[str, Any]:
    """Train one model, or go on with a run that was stopped, and return its results.

    A run folder that has its results is read, not trained again.

    Args:
        config: the run; what it leaves open is decided and saved.
        data: in place of what `config.data.data` names; the configuration's splits are applied to it.
        console: where header and progress are printed; nothing is printed without one.

    Returns:
        the content of `results.json`, with "folder".

    Raises:
        PretaskError: see section "faults" of the documentation; nothing that was saved is lost.
        Interrupted: the user stopped the run.
    """
    place = open_workplace(config, config.method.method, data, console)
    folder, split, device = place.folder, place.data, place.accelerator.device
    opened = folder.open(place.asked)  # what a first start decided is not decided again
    config = resolve(opened, split, place.device)
    if (results := place.finished()) is not None:
        return results

    method = build_method(config, split)
    loader = place.loader(config)
    check_pieces(config.optim.accumulate, method, loader)
    check_sharding(config.session, method, place.accelerator.num_processes, config.method)
    place.begin(config, header(config, split, method, loader, place.accelerator, opened.session))
    judge = Judge(config, split, device)
    try:
        method, position = fit(
            method,
            loader,
            config,
            folder,
            place.accelerator,
            judge.validation(),
            judge.save,
            place.console,
            folder.path.name,
            make_preparation(config, split.num_classes),
        )
    finally:
        loader.close()
    results = _results(config, split, method, position, judge, folder, len(loader))
    return place.end({**results, **place.costs(position, passes_per_image(config, method, split.image_size))})


def resume(folder: Path | str, console: Console | None = None) -> dict[str, Any]:
    """Go on with a run from its folder alone; see `train`.

    Raises:
        PretaskError: the folder holds no run, or a pre-training.
    """
    path = Path(folder)
    if not (path / "config.yaml").is_file():
        raise PretaskError(
            f"{path} is not a run folder (no config.yaml): give one that `pretask train` has made"
        )
    config = load_any_config(path / "config.yaml", name=path.name, runs=str(path.parent))
    if not isinstance(config, RunConfig):
        raise PretaskError(
            f"{path} is no training with labels: type the command that began it, which goes on from there"
        )
    return train(config, console=console)


class Judge:
    """Evaluates a method by the configuration's rules, and saves what it offers.

    Args:
        config: of the run, resolved.
        data: splits at hand.
        device: where to evaluate.
    """

    def __init__(self, config: RunConfig, data: ImageData, device: torch.device) -> None:
        self.config, self.data, self.device = config, data, device
        self.batch_size = max(32, 2 * config.optim.batch_size)

    def validation(self) -> Callable[[Method], dict[str, dict[str, Any]]] | None:
        """Return the function that scores a method between epochs, or None where nothing selects."""
        selection = self.config.session.selection
        split = {"validation": self.data.validation, "test": self.data.test, "last": None}[selection]
        if split is None:
            return None

        def validate(method: Method) -> dict[str, dict[str, Any]]:
            name = method.inferences[0]
            batch_size = self._rows(method.classifier(name).num_views)
            scores = evaluate_split(
                method.classifier(name),
                split,
                image_size=self.data.image_size,
                batch_size=batch_size,
                **self._options(),
            )
            return {name: scores}

        return validate

    def save(self, method: Method, folder: Path) -> None:
        """Write the method's classifiers, one per inference, as the run's model."""
        classifiers = {name: method.classifier(name) for name in method.inferences}
        save_model(folder, classifiers, model_card(self.config, self.data, method))

    def final(self, classifier: torch.nn.Module, num_views: int) -> dict[str, Any]:
        """Return all figures of a classifier on the validation and test sets."""
        figures = {}
        for split in ("validation", "test"):
            if getattr(self.data, split) is not None:
                evaluator = Accuracy(split, batch_size=self._rows(num_views), **self._options())
                figures[split] = evaluator(classifier, self.data)
        return figures

    def _rows(self, num_views: int) -> int:
        """Images in a forward pass, such that views do not multiply its memory."""
        return max(16, self.batch_size // num_views)

    def _options(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "channels_last": self.config.session.channels_last,
            "workers": self.config.data.workers,
            "precision": self._precision,
        }

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.session.precision == "bf16"
        )


def _results(
    config: RunConfig,
    data: ImageData,
    method: Method,
    position: Position,
    judge: Judge,
    folder: RunFolder,
    steps: int,
) -> dict[str, Any]:
    """Return the figures of the selected and the last weights, for each inference."""
    epochs, _ = training_length(config.optim, steps)
    inferences = {}
    for name in method.inferences:
        last = method.classifier(name)
        views = last.num_views
        selected = load_classifier(folder.path, name).to(judge.device)
        figures = {"selected": judge.final(selected, views)}
        figures["last"] = (
            figures["selected"] if position.selected_epoch == epochs else judge.final(last, views)
        )
        inferences[name] = figures
    return {
        "method": config.method.method,
        "pretexts": [pretext.name for pretext in method.pretexts],
        "views": method.views_per_image,
        "default_inference": method.inferences[0],
        "inferences": inferences,
        "selection": config.session.selection if judge.validation() is not None else "last",
        "optimistic": config.session.selection == "test",
        "selected_epoch": position.selected_epoch,
        "epochs": epochs,
        "seed": config.session.seed,
        "data": data.facts(),
        "backbone": method.backbone.facts.summary(),
        "protocol": Accuracy("test").protocol,
    }
