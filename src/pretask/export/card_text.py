"""The model card of an export, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard as HubCard
from huggingface_hub import ModelCardData

from pretask.config.files import load_config
from pretask.methods import ModelCard

_USE = {
    "safetensors": """\
```python
import torch
from pretask import load_classifier

classifier = load_classifier("path/of/this/folder")
images = torch.rand(1, {channels}, {height}, {width})  # values in [0, 1]
probabilities = classifier(images).softmax(dim=1)
```
""",
    "torch-export": """\
```python
import torch

classifier = torch.export.load("path/of/this/folder/model.pt2").module()
images = torch.rand(1, {channels}, {height}, {width})  # values in [0, 1], any number of images
probabilities = classifier(images).softmax(dim=1)
```
""",
    "onnx": """\
```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("path/of/this/folder/model.onnx")
images = np.random.rand(1, {channels}, {height}, {width}).astype(np.float32)  # values in [0, 1], any number of images
(logits,) = session.run(["logits"], {{"images": images}})
```
""",
}


def model_card_text(
    card: ModelCard, inference: str, num_views: int, results: dict[str, Any], run: Path, format: str
) -> str:
    """Return a model card in the Hub's format: metadata, use, figures with their protocol, limits.

    Args:
        card: of the run.
        inference: the one that is exported.
        num_views: rows of a batch that it makes of an image.
        results: of the run; empty where it has none.
        run: its folder.
        format: of the export, which decides how it is used.
    """
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
        + _USE[format]
        .format(channels=card.channels, height=card.image_size[0], width=card.image_size[1])
        .rstrip(),
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
