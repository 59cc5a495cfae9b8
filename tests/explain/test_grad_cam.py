"""Grad-CAM against one written by hand, and what it leaves behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.backbones import create_backbone
from pretask.errors import PretaskError
from pretask.explain.grad_cam import grad_cam, last_map_layer, plain_view
from pretask.methods import METHODS, Classifier, Method, MethodParts, create_method
from pretask.pretexts import Pretext, create_pretexts

SIZE = (16, 16)


def untrained(
    name: str, backbone: str = "resnet8", pretexts: tuple[Pretext, ...] = (), **options: object
) -> Method:
    torch.manual_seed(0)
    parts = MethodParts(
        backbone=create_backbone(backbone, image_size=SIZE, in_channels=3),
        class_counts=torch.ones(4, dtype=torch.int64),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        pretexts=pretexts,
    )
    return create_method(name, parts, **options).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def by_hand(classifier: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """Equations 1 and 2 of the paper, image by image, for a head on the mean of the last map."""
    backbone, found = classifier.backbone, []
    for image, target in zip(images, targets.tolist(), strict=True):
        maps = backbone.feature_map(classifier.normalize(image[None])).detach().requires_grad_()
        logit = classifier.head(backbone.pool_map(maps))[0, target]
        (gradient,) = torch.autograd.grad(logit, maps)
        weights = gradient[0].mean((1, 2))
        weighted = sum(weight * channel for weight, channel in zip(weights, maps[0].detach(), strict=True))
        found.append(F.interpolate(weighted.relu()[None, None], SIZE, mode="bilinear")[0, 0])
    return torch.stack(found)


@pytest.mark.parametrize("backbone", ["resnet8", "wrn-10-1", "resnet18", "efficientnet_b0"])
def test_maps_are_those_of_the_paper(images: Tensor, backbone: str) -> None:
    classifier = untrained("baseline", backbone).classifier()
    targets = torch.tensor([0, 1, 2, 3, 0])
    expected = by_hand(classifier, images, targets)
    assert expected.abs().max() > 0
    torch.testing.assert_close(grad_cam(classifier, images, targets), expected, rtol=1e-4, atol=1e-6)


def test_an_aggregated_answer_is_explained_for_the_image_as_it_is(images: Tensor) -> None:
    method = untrained("sla")
    targets = torch.tensor([0, 1, 2, 3, 0])
    whole = grad_cam(method.classifier("aggregated"), images, targets)
    torch.testing.assert_close(whole, grad_cam(method.classifier("single"), images, targets))


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_and_inference_has_a_map(images: Tensor, name: str) -> None:
    method = untrained(name)
    for inference in method.inferences:
        maps = grad_cam(method.classifier(inference), images, torch.zeros(5, dtype=torch.int64))
        assert maps.shape == (5, *SIZE) and maps.min() >= 0


@pytest.mark.parametrize("layer", [None, "blocks.1"])
def test_views_of_features_stay_and_those_of_the_image_go(images: Tensor, layer: str | None) -> None:
    method = untrained("sla+ssfe", pretexts=create_pretexts(["rotation", "discard"]), layer=layer)
    classifier = method.classifier("aggregated")
    alone = plain_view(classifier)
    views = classifier.encoder.views(images)[:].reshape(5, 4, 4, -1)[:, 0]
    joint = classifier.head(views).reshape(5, 4, 4, 4, 4)[
        :, :, :, 0
    ]  # image, feature view, class, feature label
    expected = torch.stack([joint[:, j, :, j] for j in range(4)]).mean(0)
    torch.testing.assert_close(alone(images), expected)
    assert grad_cam(classifier, images, torch.zeros(5, dtype=torch.int64)).shape == (5, *SIZE)


def test_nothing_is_left_behind(images: Tensor) -> None:
    """Hooks, gradients and modes are as before, also after an error."""
    classifier = untrained("baseline").classifier()

    def state():
        modules = list(classifier.modules())
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in modules]
        return hooks, [m.training for m in modules], [p.grad for p in classifier.parameters()]

    before = state()
    grad_cam(classifier, images, torch.zeros(5, dtype=torch.int64))
    assert state() == before
    with pytest.raises(Exception, match=r"index|size|target"):
        grad_cam(classifier, images, torch.full((5,), 99))
    assert state() == before


def test_the_layer_is_found() -> None:
    backbone = create_backbone("resnet18", image_size=(64, 64), in_channels=3)
    names = {module: name for name, module in backbone.layer_root.named_modules()}
    assert names[last_map_layer(backbone)] == "layer4"


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_networks_without_maps_say_so(name: str) -> None:
    backbone = create_backbone(name, image_size=(224, 224), in_channels=3)
    with pytest.raises(PretaskError, match=f"{name} has no feature map.*--parts tsne pca"):
        last_map_layer(backbone)
