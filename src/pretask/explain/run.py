"""Explains trained models side by side: where they look, and how their features lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pretask.data import ImageData, LabelledImages
from pretask.errors import PretaskError, unknown_name
from pretask.evaluation.predictions import embed
from pretask.evaluation.run_data import read_data
from pretask.evaluation.split import split_images, split_loader
from pretask.explain.chosen import Chosen, drawn_images, drawn_subset, named_pictures
from pretask.explain.drawing import Projected, Seen, draw_attention, draw_projection
from pretask.explain.grad_cam import grad_cam
from pretask.explain.projections import PROJECTIONS, separation
from pretask.files import write_json
from pretask.methods import Classifier, ModelCard, load_classifier, load_encoder, read_card
from pretask.reports import write_run_report
from pretask.reports.explanations import FOLDER
from pretask.training.device import prepare_host, resolve_device

Part = Literal["gradcam", "tsne", "pca"]
PARTS: tuple[Part, ...] = ("gradcam", "tsne", "pca")
Files = Mapping[Part, Path]
"""Where each part is drawn."""
_TITLES = {"tsne": "t-SNE", "pca": "PCA"}


def explain(
    runs: Sequence[Path | str],
    *,
    parts: Sequence[Part] = PARTS,
    images: Sequence[Path | str] = (),
    count: int = 6,
    points: int = 2000,
    inference: str | None = None,
    split: str = "test",
    data: str | None = None,
    to: Path | str | None = None,
    format: Literal["png", "svg"] = "png",
    seed: int = 0,
    device: str = "auto",
) -> dict[str, Any]:
    """Draw what models look at, and their features in two dimensions, the same images for all of them.

    Args:
        runs: run folders or exports, of the same images and classes; the first one's data is used.
        parts: "gradcam" (see `grad_cam`; of each model's own answer), "tsne", "pca".
        images: picture files for Grad-CAM, in place of images drawn from the split.
        count: images drawn for it, evenly over classes as far as that goes.
        points: images at most whose features are shown.
        inference: the way to answer that is asked; each run's default where None.
        split: of the data.
        data: in place of the first run's own.
        to: folder to write; "explain" in the first run where None, whose report then shows the pictures.
        format: of the pictures.
        seed: draws images, and starts t-SNE.
        device: "auto", "cpu" or "cuda".

    Returns:
        what is written to `explain.json`: {"runs", "data", "split", "seed", "files": {part: path}, "attention": of
        each image its truth and the models' answers, "separation": {run: figures}}, and "folder".

    Raises:
        PretaskError: no such run, part or split; runs of other classes or image sizes; a network without feature
            maps under Grad-CAM; a picture that cannot be read.
        MissingExtra: captum or openTSNE is not installed.
    """
    if not runs:
        raise PretaskError("there is nothing to explain: give a run folder, or several")
    for part in parts:
        if part not in PARTS:
            raise unknown_name("part", part, PARTS)
    if count < 1 or points < 3:
        raise PretaskError(f"{count} images and {points} points are too few: give at least 1 and 3")
    where, folders = resolve_device(device), [Path(run) for run in runs]
    prepare_host(None, where)
    models = dict(zip(_names(folders), folders, strict=True))
    _check_alike({name: read_card(path) for name, path in models.items()})
    found = read_data(folders[0], data, read_card(folders[0]))
    folder = Path(to) if to is not None else folders[0] / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    files = {part: folder / f"{part}.{format}" for part in PARTS if part in parts}
    told: dict[str, Any] = {
        "runs": {name: str(path) for name, path in models.items()},
        "data": found.name,
        "split": split,
        "seed": seed,
        "files": {part: str(path) for part, path in files.items()},
    }
    if "gradcam" in parts:
        told |= _attention(models, _chosen(images, found, split, count, seed), inference, where, files)
    kinds = [part for part in PARTS if part in parts and part in PROJECTIONS]
    if kinds:
        shown = drawn_subset(split_images(found, split), points, seed)
        told |= _projections(models, kinds, shown, found, where, files, seed)
    write_json(folder / "explain.json", told)
    if to is None and (folders[0] / "config.yaml").is_file():
        write_run_report(folders[0])
    return {**told, "folder": str(folder)}


def _names(folders: Sequence[Path]) -> list[str]:
    """Return what each run is called in pictures: its folder, with the one above where two are alike."""
    short = [folder.resolve().name for folder in folders]
    if len(set(short)) < len(short):
        short = ["/".join(folder.resolve().parts[-2:]) for folder in folders]
    if len(set(short)) < len(short):
        raise PretaskError("a run is given twice: give each once")
    return short


def _check_alike(cards: dict[str, ModelCard]) -> None:
    first_name, first = next(iter(cards.items()))
    for name, card in cards.items():
        for key in ("image_size", "channels", "class_names"):
            if getattr(card, key) != getattr(first, key):
                raise PretaskError(
                    f"{name} and {first_name} differ in {key.replace('_', ' ')} and cannot be shown side by side: "
                    "explain them one by one"
                )


def _chosen(pictures: Sequence[Path | str], data: ImageData, split: str, count: int, seed: int) -> Chosen:
    if pictures:
        return named_pictures(pictures, data.channels, data.image_size)
    return drawn_images(split_images(data, split), count, data.image_size, seed)


def _attention(
    models: Mapping[str, Path], chosen: Chosen, inference: str | None, device: torch.device, files: Files
) -> dict[str, Any]:
    """Draw Grad-CAM of every model; return "attention": what each answers."""
    class_names = read_card(next(iter(models.values()))).class_names
    pixels = chosen.pixels.to(device)
    seen = [_look(load_classifier(path, inference).to(device), name, pixels) for name, path in models.items()]
    draw_attention(files["gradcam"], chosen, class_names, seen)
    rows = [
        {
            "image": title,
            "label": None if label is None else class_names[label],
            "answers": {model.name: _answer(model, row, class_names) for model in seen},
        }
        for row, (title, label) in enumerate(zip(chosen.titles, chosen.labels, strict=True))
    ]
    return {"attention": rows}


def _look(classifier: Classifier, name: str, images: Tensor) -> Seen:
    with torch.no_grad():
        probabilities = classifier(images).softmax(1)
    confidence, answers = probabilities.max(1)
    return Seen(name, grad_cam(classifier, images, answers).cpu(), answers.cpu(), confidence.cpu())


def _answer(model: Seen, row: int, class_names: Sequence[str]) -> dict[str, Any]:
    return {"label": class_names[int(model.answers[row])], "probability": float(model.confidence[row])}


def _projections(
    models: Mapping[str, Path],
    kinds: Sequence[Part],
    shown: LabelledImages,
    data: ImageData,
    device: torch.device,
    files: Files,
    seed: int,
) -> dict[str, Any]:
    """Draw the features of every model in two dimensions; return "separation" of each and the number of "points"."""
    features = {name: _features(path, shown, data, device) for name, path in models.items()}
    apart = {name: separation(values, shown.labels) for name, values in features.items()}
    for kind in kinds:
        project = PROJECTIONS[kind]
        panels = [Projected(name, project(values, seed), apart[name]) for name, values in features.items()]
        draw_projection(files[kind], _TITLES[kind], shown.labels, data.class_names, panels)
    return {"separation": {name: asdict(found) for name, found in apart.items()}, "points": len(shown)}


def _features(folder: Path, images: LabelledImages, data: ImageData, device: torch.device) -> Tensor:
    encoder = load_encoder(folder).to(device)
    with closing(
        split_loader(encoder, images, image_size=data.image_size, batch_size=256, device=device)
    ) as loader:
        return embed(encoder, loader)[0]
