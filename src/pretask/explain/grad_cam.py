"""Where a model looks: Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretask.attacks.ascent import evaluation_mode
from pretask.backbones import Backbone
from pretask.backbones.facts import output_shapes
from pretask.errors import PretaskError, import_extra
from pretask.explain.scene import CELL, PARTS, Chosen, Scene, new_figure, save, show_image
from pretask.methods import Classifier
from pretask.methods.classifier import head_of_columns
from pretask.methods.encoder import Encoder


def plain_view(classifier: Classifier) -> Classifier:
    """Return a classifier of the untransformed image that shares the backbone, its head a part of the given one's.

    A classifier that averages over changed images answers by view 0 alone. Changes of features stay: they do not move
    anything within the image.
    """
    encoder, reading = classifier.encoder, classifier.reading
    if encoder.image_pretext is None or reading in ("plain", "columns"):
        return classifier
    features = () if encoder.feature_pretext is None else (encoder.feature_pretext,)
    alone = Encoder(encoder.backbone, encoder.normalize, features, encoder.layer)
    if reading != "joint":
        return Classifier(alone, classifier.head, reading if features else "plain")
    kept = encoder.feature_views
    rows = torch.arange(classifier.num_classes)[:, None] * encoder.num_labels + torch.arange(kept)
    head = head_of_columns(classifier.head, rows.flatten().to(classifier.head.weight.device))
    return Classifier(alone, head, "joint" if features else "plain")


def grad_cam(classifier: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """Return a map of each image, float32 [n, H, W] ≥ 0: how much each place speaks for the target class.

    ReLU(Σ_k α_k A_k) of the last feature map A, α_k the mean over places of the gradient of the class's logit with
    respect to channel k (equations 1 and 2); resized bilinearly to the image. A classifier that averages over changed
    images is asked about the untransformed one. Weights, gradients and hooks of the network are left as they were.

    Args:
        classifier: of images [n, C, H, W] in [0, 1].
        images: where the classifier is.
        targets: int64 [n], the classes to look for.

    Raises:
        PretaskError: a network without feature maps, such as a vision transformer.
        MissingExtra: captum is not installed.
    """
    attr = import_extra("captum.attr", "explain", "Grad-CAM")
    asked = plain_view(classifier)
    layer = last_map_layer(asked.backbone)
    with evaluation_mode(asked), torch.enable_grad():
        maps = attr.LayerGradCam(asked, layer).attribute(images, targets, relu_attributions=False)
    rows = maps.detach().reshape(len(images), -1, *maps.shape[-2:]).mean(1, keepdim=True)
    resized: Tensor = attr.LayerAttribution.interpolate(rows.relu(), tuple(images.shape[-2:]), "bilinear")
    return resized[:, 0].float()


def last_map_layer(backbone: Backbone) -> nn.Module:
    """Return the layer that puts out the last feature map: of all that put out one of its shape, the last to be done.

    Raises:
        PretaskError: there is none.
    """
    facts = backbone.facts
    wanted, found = (1, facts.map_channels, *facts.final_map), []

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and tuple(output.shape) == wanted:
            found.append(layer)

    hooks = [layer.register_forward_hook(note) for layer in backbone.layer_root.modules()]
    try:
        output_shapes(backbone, facts.image_size, facts.in_channels)
    finally:
        for hook in hooks:
            hook.remove()
    if not found or not backbone.pools_map:
        raise PretaskError(
            f"{facts.name} has no feature map that Grad-CAM could read: type --parts tsne pca, "
            "or train a convolutional --backbone"
        )
    return found[-1]


@dataclass(frozen=True, eq=False)
class Seen:
    """What one model makes of the images that are shown.

    Attributes:
        name: of the model.
        maps: Grad-CAM of its answer, [n, H, W].
        answers: int64 [n].
        confidence: of these answers, [n].
    """

    name: str
    maps: Tensor
    answers: Tensor
    confidence: Tensor


@PARTS.register("gradcam")
def attention(scene: Scene, path: Path) -> dict[str, Any]:
    """Draw Grad-CAM of every model's own answer; return "attention": the truth and the answers for each image.

    Raises:
        PretaskError: a network without feature maps.
        MissingExtra: captum is not installed.
    """
    chosen, names = scene.chosen, scene.class_names
    seen = [_look(scene, name) for name in scene.models]
    _draw(path, chosen, names, seen)
    rows = [
        {
            "image": title,
            "label": None if label is None else names[label],
            "answers": {
                model.name: {
                    "label": names[int(model.answers[row])],
                    "probability": float(model.confidence[row]),
                }
                for model in seen
            },
        }
        for row, (title, label) in enumerate(zip(chosen.titles, chosen.labels, strict=True))
    ]
    return {"attention": rows}


def _look(scene: Scene, name: str) -> Seen:
    classifier, images = scene.classifier(name), scene.chosen.pixels.to(scene.device)
    with torch.no_grad():
        probabilities = classifier(images).softmax(1)
    confidence, answers = probabilities.max(1)
    return Seen(name, grad_cam(classifier, images, answers).cpu(), answers.cpu(), confidence.cpu())


def _draw(path: Path, chosen: Chosen, class_names: Sequence[str], seen: Sequence[Seen]) -> None:
    rows, columns = len(chosen.pixels), 1 + len(seen)
    figure = new_figure(columns * CELL, rows * (CELL + 0.25) + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, (image, label) in enumerate(zip(chosen.pixels, chosen.labels, strict=True)):
        show_image(axes[row][0], image, "" if label is None else class_names[label])
        for cell, model in zip(axes[row][1:], seen, strict=True):
            show_image(cell, image, _words(model, row, label, class_names))
            strength = model.maps[row] / model.maps[row].max().clamp(min=1e-12)
            cell.imshow(strength.numpy(), cmap="inferno", alpha=0.55, vmin=0, vmax=1)
    for cell, name in zip(axes[0], ("image", *(model.name for model in seen)), strict=True):
        cell.set_title(f"{name}\n{cell.get_title()}", fontsize=8)
    save(figure, path)


def _words(model: Seen, row: int, label: int | None, class_names: Sequence[str]) -> str:
    answer = int(model.answers[row])
    mark = "" if label is None else ("✓ " if answer == label else "✗ ")
    return f"{mark}{class_names[answer]} {100 * float(model.confidence[row]):.0f} %"
