"""A classifier or a backbone on disk: `model.safetensors` beside `model.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretask.backbones import Backbone, create_backbone
from pretask.backbones.room import at_most
from pretask.errors import PretaskError, unknown_name
from pretask.io.files import write_json
from pretask.io.tensors import DamagedFile, read_tensors, write_tensors
from pretask.losses import create_head
from pretask.methods.classifier import Classifier, Head
from pretask.methods.encoder import Encoder, Normalize
from pretask.methods.model_card import CARD, ModelCard, read_card
from pretask.pretexts import Pretext, create_pretexts

WEIGHTS = "model.safetensors"
_SLACK = 256 * 2**20
"""Bytes that a network of any size may take while it is made."""


def save_model(folder: Path, classifiers: Mapping[str, Classifier], card: ModelCard) -> None:
    """Write classifiers that share one backbone, each file at once or not at all.

    Args:
        folder: made if missing.
        classifiers: by name of inference; must hold `card.inference`.
        card: its `inferences` are filled in from `classifiers`, and keep what else they say.
    """
    tensors = _tensors(classifiers[card.inference].backbone, "backbone.")
    modes = {}
    for name, classifier in classifiers.items():
        tensors |= _tensors(classifier.head, f"heads.{name}.")
        encoder = classifier.encoder
        if encoder.feature_pretext is not None:
            tensors |= _tensors(encoder.feature_pretext, f"masks.{name}.")
        modes[name] = {
            **card.inferences.get(name, {}),
            "pretexts": [pretext.name for pretext in encoder.pretexts],
            "layer": encoder.layer,
            "reading": classifier.reading,
            "temperature": classifier.temperature,
        }
    content = {**asdict(card), "inferences": modes}
    write_tensors(folder / WEIGHTS, tensors)
    write_json(folder / CARD, content)


def save_calibration(folder: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Add what was found out about a saved model's probabilities to its card.

    Args:
        folder: where `save_model` has left it.
        found: for each inference "temperature" and "doubts", see `pretask.evaluation.calibration`.
    """
    card = read_card(folder)
    modes = {name: {**mode, **found.get(name, {})} for name, mode in card.inferences.items()}
    write_json(folder / CARD, {**asdict(card), "inferences": modes})


def load_classifier(
    folder: Path | str, inference: str | None = None, card: ModelCard | None = None
) -> Classifier:
    """Rebuild a saved classifier, on the CPU and in evaluation mode.

    Args:
        folder: a run folder or an export.
        inference: one of the saved ways to answer; None is the model's default.
        card: the folder's, where it was read before.

    Raises:
        PretaskError: a missing or damaged file, a run without a class head, an unknown inference, weights of
            another architecture.
    """
    folder = Path(folder)
    card = card or read_card(folder)
    if not card.inferences:
        raise no_head(folder)
    name = inference or card.inference
    if name not in card.inferences:
        raise unknown_name(f"inference of {folder}", name, card.inferences)
    with _refusing_unfit(folder, card):
        return _rebuild(card, name, _read_tensors(folder / WEIGHTS)).eval()


def no_head(folder: Path) -> PretaskError:
    """Return the error for the run in `folder`, which has learned no classes and is asked about them."""
    return PretaskError(
        f"{folder} has no class head: type `pretask train --init {folder}`, "
        "or evaluate it with --protocol knn linear"
    )


def save_encoder(
    folder: Path, encoder: Encoder, card: ModelCard, more: Mapping[str, nn.Module] | None = None
) -> None:
    """Write a backbone that has no class head, each file at once or not at all.

    Args:
        folder: made if missing.
        encoder: without pretexts.
        card: without classes and inferences.
        more: other modules to keep, by the name under which `load_part` finds them.
    """
    tensors = _tensors(encoder.backbone, "backbone.")
    for name, module in (more or {}).items():
        tensors |= _tensors(module, f"{name}.")
    write_tensors(folder / WEIGHTS, tensors)
    write_json(folder / CARD, asdict(card))


def load_encoder(folder: Path | str, card: ModelCard | None = None) -> Encoder:
    """Rebuild a saved backbone with its normalisation and no pretexts, on the CPU and in evaluation mode.

    Args:
        folder: a run folder or an export, with a class head or without.
        card: the folder's, where it was read before.

    Raises:
        PretaskError: a missing or damaged file, weights of another architecture.
    """
    folder = Path(folder)
    card = card or read_card(folder)
    with _refusing_unfit(folder, card):
        return _rebuild_encoder(card, _read_tensors(folder / WEIGHTS)).eval()


def load_part(folder: Path, name: str) -> dict[str, Tensor]:
    """Return the saved weights of one module, by their names in it.

    Args:
        folder: a run folder.
        name: "backbone", or one of `save_encoder`'s others.

    Raises:
        PretaskError: a missing or damaged file.
    """
    return _with_prefix(_read_tensors(folder / WEIGHTS), f"{name}.")


def load_backbone_weights(backbone: Backbone, folder: Path) -> None:
    """Give a backbone the weights of a run's; the heads of the run, if it has any, are left behind.

    Where that run started from published weights, their mean and standard deviation come along.

    Args:
        backbone: as `create_backbone` returns it, with the run's `keep_stem`; changed in place.
        folder: a run folder or an export.

    Raises:
        PretaskError: no such run, a damaged file, or a run of another backbone or other channels.
    """
    card, facts = read_card(folder), backbone.facts
    if (card.backbone, card.channels) != (facts.name, facts.in_channels):
        raise PretaskError(
            f"{folder} has {card.backbone} for {card.channels} channel(s), this run {facts.name} for "
            f"{facts.in_channels}: type --backbone {card.backbone} --channels {card.channels}"
        )
    try:
        backbone.load_state_dict(_with_prefix(_read_tensors(folder / WEIGHTS), "backbone."))
    except RuntimeError as error:
        height, width = card.image_size
        raise PretaskError(
            f"the weights in {folder} are for images of {height}x{width}, where {facts.name} has another stem "
            f"({str(error).splitlines()[-1].strip()}): type --image-size {height}"
        ) from None
    if card.pretrained:
        backbone.facts = replace(facts, pretrained=True, mean=card.mean, std=card.std)


def room_of(folder: Path | str) -> AbstractContextManager[None]:
    """Return a context in which no network is made that is far larger than the weights in a folder.

    A model card is a small file of anybody's: what it names is as large as the weights that it comes with.
    """
    path = Path(folder) / WEIGHTS
    size = path.stat().st_size if path.is_file() else 0
    return at_most(
        2 * size + _SLACK, f"which is not what {path} holds: both files must come from the same run"
    )


@contextmanager
def _refusing_unfit(folder: Path, card: ModelCard) -> Iterator[None]:
    try:
        # Layers are drawn before they have their weights.
        with torch.random.fork_rng(devices=[]), room_of(folder):
            yield
    except (KeyError, RuntimeError, ValueError):
        raise PretaskError(
            f"the weights in {folder / 'model.safetensors'} do not fit the {card.backbone} that model.json describes: "
            "both files must come from the same run"
        ) from None


def _rebuild_encoder(
    card: ModelCard, tensors: dict[str, Tensor], pretexts: Sequence[Pretext] = (), layer: str | None = None
) -> Encoder:
    backbone = create_backbone(
        card.backbone,
        image_size=card.image_size,
        in_channels=card.channels,
        keep_stem=card.pretrained,
        stem=card.stem,
    )
    backbone.load_state_dict(_with_prefix(tensors, "backbone."))
    return Encoder(backbone, Normalize(card.mean, card.std), pretexts, layer)


def _rebuild(card: ModelCard, name: str, tensors: dict[str, Tensor]) -> Classifier:
    mode = card.inferences[name]
    pretexts = create_pretexts(mode["pretexts"]) if mode["pretexts"] else ()
    encoder = _rebuild_encoder(card, tensors, pretexts, mode["layer"])
    if encoder.feature_pretext is not None:
        encoder.feature_pretext.load_state_dict(_with_prefix(tensors, f"masks.{name}."))
    head = _rebuild_head(_with_prefix(tensors, f"heads.{name}."))
    classifier = Classifier(encoder, head, mode["reading"], float(mode.get("temperature", 1)))
    if (head.in_features, classifier.num_classes) != (encoder.backbone.num_features, len(card.class_names)):
        raise ValueError("the head is for other features or classes")
    return classifier


def _rebuild_head(weights: dict[str, Tensor]) -> Head:
    outputs, inputs = weights["weight"].shape
    head = create_head(inputs, outputs, float(weights["scale"]) if "scale" in weights else None)
    head.load_state_dict(weights)
    return head


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise PretaskError(
            f"{path} is missing: restore it, or train again with another --name, or export again as safetensors"
        )
    try:
        return read_tensors(path, known=("format",))[0]  # which other programs write
    except DamagedFile as fault:
        raise PretaskError(
            f"{path} is damaged ({fault}): restore it, or train or export the model again"
        ) from None


def _tensors(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    # Copies: inferences may share a head, and safetensors refuses tensors that share memory.
    return {
        prefix + name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in module.state_dict().items()
    }


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
