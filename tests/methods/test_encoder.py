"""Features changed on their way: at the end, at a layer, beside changed images."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.backbones import Backbone, create_backbone
from pretask.backbones.layers import map_shape, share_after
from pretask.errors import PretaskError
from pretask.methods import Encoder, MethodParts, create_method
from pretask.methods.encoder import Normalize
from pretask.pretexts import create_pretexts


def network(name: str = "resnet8") -> Backbone:
    torch.manual_seed(0)
    return create_backbone(name, image_size=(16, 16)).eval()


def encoder(pretexts: str = "discard", layer: str | None = None, name: str = "resnet8") -> Encoder:
    return Encoder(network(name), Normalize((0.5,) * 3, (0.2,) * 3), create_pretexts(pretexts.split()), layer)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_discarding_at_the_end_equals_masking_before_pooling(images: Tensor) -> None:
    made = encoder("discard")
    maps = made.backbone.feature_map(made.normalize(images))
    views = made.views(images)
    for i in range(3):
        for j in range(4):
            kept = maps[i].clone()
            kept[16 * j : 16 * (j + 1)] = 0
            torch.testing.assert_close(views[4 * i + j], kept.mean((1, 2)))


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.1", "conv"])
def test_discarding_at_a_layer_equals_running_the_rest_on_each_masked_map(images: Tensor, layer: str) -> None:
    made = encoder("discard", layer)
    net = made.backbone
    x = made.normalize(images)
    stem = net.conv(x)
    before = {"conv": stem, "blocks.0": net.blocks[0](F.relu(net.bn(stem)))}
    before["blocks.1"] = net.blocks[1](before["blocks.0"])
    rest = {
        "conv": lambda m: net.blocks(F.relu(net.bn(m))),
        "blocks.0": lambda m: net.blocks[2](net.blocks[1](m)),
        "blocks.1": lambda m: net.blocks[2](m),
    }[layer]
    maps, views = before[layer], made.views(images)
    group = maps.shape[1] // 4
    for i in range(3):
        for j in range(4):
            masked = maps[i : i + 1].clone()
            masked[:, j * group : (j + 1) * group] = 0
            torch.testing.assert_close(views[4 * i + j], rest(masked).mean((2, 3))[0])
    torch.testing.assert_close(made(images), net(x), msg="the tap must be closed again")


def test_regions_at_the_end_are_masked_before_pooling(images: Tensor) -> None:
    made = encoder("discard-region")
    maps = made.backbone.feature_map(made.normalize(images))
    views = made.views(images)
    for j, (top, left) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
        kept = maps[0].clone()
        kept[:, top : top + 2, left : left + 2] = 0
        torch.testing.assert_close(views[j], kept.mean((1, 2)))


def test_views_of_both_are_image_major(images: Tensor) -> None:
    made = encoder("rotation2 discard:groups=3")
    assert (made.num_labels, made.name) == (6, "rotation2+discard:groups=3")
    views = made.views(images)
    for label in range(6):
        torch.testing.assert_close(made.transform(images, torch.full((3,), label)), views[label::6])
    turned = encoder("discard:groups=3").views(images.flip(2, 3))
    torch.testing.assert_close(views.reshape(3, 2, 3, -1)[:, 1].flatten(0, 1), turned)


@pytest.mark.parametrize(
    ("pretexts", "layer"),
    [
        ("discard", None),
        ("rotation discard", None),
        ("discard-region", None),
        ("discard", "blocks.1"),
        ("rotation", None),
        ("discard:identity=yes", None),
    ],
)
def test_views_and_plain(images: Tensor, pretexts: str, layer: str | None) -> None:
    made = encoder(pretexts, layer)
    views, plain = made.views_and_plain(images)
    torch.testing.assert_close(views, made.views(images))
    torch.testing.assert_close(plain, made(images))


def test_drawn_views_run_the_network_once_per_image_where_only_features_change(images: Tensor) -> None:
    made = encoder("discard")
    rows: list[int] = []
    made.backbone.conv.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    features, labels = made.drawn_views(images, 2)
    assert rows == [3]
    views = made.views(images)
    for i in range(3):
        own = labels[2 * i : 2 * i + 2].tolist()
        assert len(set(own)) == 2
        for k, j in enumerate(own):
            torch.testing.assert_close(features[2 * i + k], views[4 * i + j])


@pytest.mark.parametrize(
    ("name", "layer", "channels"),
    [
        ("resnet18", "layer3", 256),
        ("convnext_atto", "stages.2", 160),
        ("swin_tiny_patch4_window7_224", "layers.1", 192),
        ("vit_tiny_patch16_224", "blocks.6", 192),
    ],
)
def test_any_layer_of_timm(name: str, layer: str, channels: int) -> None:
    torch.manual_seed(0)
    net = create_backbone(name, image_size=(64, 64)).eval()
    assert map_shape(net, layer)[0] == channels
    made = Encoder(net, Normalize((0.5,) * 3, (0.2,) * 3), create_pretexts("discard"), layer)
    assert 0 < share_after(net, layer) < 1
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        views, plain = made.views(images), made(images)
    assert views.shape == (8, net.num_features)
    seen: list[Tensor] = []
    net.layer_root.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: seen.append(output)
    )
    with torch.no_grad():
        made.views(images)
    maps = seen[0].movedim(-1, 1) if seen[0].shape[-1] == channels else seen[0]
    for j in range(4):
        group = channels // 4
        assert maps[j, j * group : (j + 1) * group].abs().sum() == 0
        assert maps[j].abs().sum() > 0
    assert not torch.allclose(views[0], plain[0])


def test_cost_is_that_of_the_layers_after_the_cut() -> None:
    made = encoder("discard", "blocks.1")
    share = share_after(made.backbone, "blocks.1")
    last = 32 * 64 * 9 * 16 + 64 * 64 * 9 * 16
    total = 27 * 16 * 256 + 2 * 16 * 16 * 9 * 256 + (16 * 32 + 32 * 32) * 9 * 64 + last
    assert share == pytest.approx(last / total)
    assert made.passes() == pytest.approx(1 + 3 * share)
    assert encoder("discard").passes() == 1
    assert encoder("rotation discard").passes() == 4


def test_a_copy_has_taps_of_its_own(images: Tensor) -> None:
    """Averaged weights are a deep copy: masks set on one must reach that one alone."""
    made = encoder("discard", "blocks.1")
    views = made.views(images)
    twin = copy.deepcopy(made)
    torch.testing.assert_close(twin.views(images), views)
    with twin.backbone.tap("blocks.1").changing(lambda x: 0 * x):
        torch.testing.assert_close(made(images), made.backbone(made.normalize(images)))
        assert not torch.allclose(twin(images), made(images))


def test_faults_tell_the_remedy() -> None:
    with pytest.raises(PretaskError, match=r"resnet8 has no layer 'block.1': type --layer with .*blocks\.1"):
        encoder("discard", "block.1")
    with pytest.raises(PretaskError, match="no pretext changes them: type --pretexts discard"):
        encoder("rotation", "blocks.1")
    with pytest.raises(PretaskError, match="100"):
        encoder("discard:groups=100")


@pytest.mark.parametrize("layer", [None, "blocks.1"])
@pytest.mark.parametrize("name", ["ssfe", "sla+ssfe"])
def test_compiles_without_graph_breaks(images: Tensor, name: str, layer: str | None) -> None:
    torch._dynamo.reset()
    parts = MethodParts(network(), torch.tensor([2, 2]), (0.5,) * 3, (0.2,) * 3)
    method = create_method(name, parts, layer=layer).eval()
    labels = torch.tensor([0, 1, 1])
    expected = method(images, labels)["loss"]
    compiled = torch.compile(method, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images, labels)["loss"], expected)
