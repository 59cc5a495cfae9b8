"""The deployable classifier with a model card for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard as HubCard
from huggingface_hub import ModelCardData

from pretask.errors import PretaskError
from pretask.files import write_atomically
from pretask.methods import ModelCard, load_classifier, read_card, save_model
from pretask.training.config_files import load_config
from pretask.training.run_folder import RunFolder

_FILES = frozenset(("model.safetensors", "model.json", "README.md"))
_USE = """\
```python
import torch
from pretask import load_classifier

classifier = load_classifier("path/of/this/folder")
images = torch.rand(1, {channels}, {height}, {width})  # values in [0, 1]
probabilities = classifier(images).softmax(dim=1)
```
"""


def export_safetensors(run: Path | str, to: Path | str | None = None, inference: str | None = None) -> Path:
    """Write one inference of a run as `model.safetensors`, `model.json` and a model card `README.md`.

    Args:
        run: a run folder.
        to: folder to write; `<run>-<inference>` beside the run where None.
        inference: a way to answer; None is the run's default.

    Returns:
        the folder.

    Raises:
        PretaskError: no such run or inference, or a folder that holds anything but an export.
    """
    run = Path(run)
    card = read_card(run)
    name = inference or card.inference
    classifier = load_classifier(run, name)
    folder = Path(to) if to is not None else run.with_name(f"{run.name}-{name}")
    _check_room(folder)
    results = RunFolder(run).read_results() if (run / "results.json").is_file() else {}
    save_model(folder, {name: classifier}, replace(card, inference=name))
    text = model_card_text(card, name, classifier.num_views, results, run)
    write_atomically(folder / "README.md", lambda path: path.write_text(text))
    return folder


def _check_room(folder: Path) -> None:
    """Refuse a folder whose files an export would overwrite or stand among; an export may be written again."""
    if folder.exists() and not folder.is_dir():
        raise PretaskError(f"{folder} is a file: give a folder to export to")
    others = {path.name for path in folder.iterdir()} - _FILES if folder.exists() else set()
    if others:
        raise PretaskError(
            f"{folder} holds other files ({min(others)}): give a new or empty folder to export to"
        )


def model_card_text(
    card: ModelCard, inference: str, num_views: int, results: dict[str, Any], run: Path
) -> str:
    """Return a model card in the Hub's format: metadata, use, figures with their protocol, limits."""
    metadata = ModelCardData(
        library_name="pretask",
        pipeline_tag="image-classification",
        tags=["pretask", card.method, card.backbone],
    )
    parts = [
        f"# {card.backbone} trained with {card.method} on {card.facts.get('data', 'images')}",
        f"Tells {len(card.class_names)} classes apart: {', '.join(card.class_names[:50])}"
        + ("." if len(card.class_names) <= 50 else ", …"),
        f"Images are {card.channels}x{card.image_size[0]}x{card.image_size[1]} with values in [0, 1]; the model "
        f"normalises them itself. Inference `{inference}` passes each image through the network {num_views} time(s).",
        "## Use\n\n"
        + _USE.format(channels=card.channels, height=card.image_size[0], width=card.image_size[1]).rstrip(),
        "## Figures\n\n" + _figures(results, inference),
        "## Training\n\n" + _training(run) + _reconstructions(card),
        "## Limits\n\nThe figures hold for images like those of the training set; no other use was measured. "
        "One run from one seed is an anecdote: `pretask compare` gives the spread over seeds.",
    ]
    return str(HubCard(f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))


def _figures(results: dict[str, Any], inference: str) -> str:
    test = results.get("inferences", {}).get(inference, {}).get("selected", {}).get("test")
    if not test:
        return "Not evaluated on a test set."
    stamp = (
        " The epoch was selected on the test set: these figures are optimistic."
        if results["optimistic"]
        else ""
    )
    rows = [
        ("top-1", test["top1"]),
        (f"top-{test['top5_k']}", test["top5"]),
        ("balanced", test["balanced"]),
        ("ECE", test["ece"]),
    ]
    table = "\n".join(f"| {name} | {100 * value:.2f} % |" for name, value in rows)
    return (
        f"| measure | test, {test['n']:,} images |\n|---|---|\n{table}\n\n"
        f"Seed {results['seed']}, weights selected on {results['selection']}.{stamp} Protocol: {results['protocol']}."
    )


def _reconstructions(card: ModelCard) -> str:
    return "".join(
        f" Reconstructed, not the paper's own: {what}." for what in card.facts.get("reconstructions", ())
    )


def _training(run: Path) -> str:
    path = run / "config.yaml"
    if not path.is_file():
        return "The configuration is not at hand."
    config = load_config(path)
    optim = config.optim
    return (
        f"Method `{config.method.method}`, pretexts {', '.join(config.method.pretexts) or 'none'}; "
        f"{optim.epochs} epochs, batch {optim.batch_size}, {optim.optimizer} at {optim.lr:g} ({optim.schedule}), "
        f"augmentation {config.data.augment}, seed {config.session.seed}."
    )
