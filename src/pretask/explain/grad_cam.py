"""Where in an image a class is seen: Grad-CAM (Selvaraju et al., ICCV 2017, arXiv 1610.02391), by captum."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pretask.backbones import Backbone
from pretask.backbones.facts import output_shapes
from pretask.errors import MissingExtra, PretaskError
from pretask.evaluation.predictions import evaluation_mode
from pretask.explain.plain_view import plain_view
from pretask.methods import Classifier


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
    attr = _captum()
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


def _captum() -> Any:
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as fault:
        raise MissingExtra("captum", "explain", "Grad-CAM") from fault
