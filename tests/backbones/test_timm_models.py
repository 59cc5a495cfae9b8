"""timm models behind the one contract: stems, image sizes, layouts, and faults in one line."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from pretask.backbones import create_backbone
from pretask.backbones.stem import stem_for
from pretask.backbones.timm_models import adapt_resnet_stem, token_grid
from pretask.errors import PretaskError


def check_contract(name: str, size: tuple[int, int], channels: int = 3):
    backbone = create_backbone(name, image_size=size, in_channels=channels).eval()
    images = torch.randn(2, channels, *size)
    with torch.no_grad():
        features, pooled = backbone.feature_map(images), backbone(images)
    facts = backbone.facts
    assert features.shape == (2, facts.map_channels, *facts.final_map)
    assert pooled.shape == (2, backbone.num_features) == (2, facts.num_features)
    return backbone, images


@pytest.mark.parametrize(
    ("side", "channels", "stem", "final"),
    [
        (28, 1, "3x3 stride 1", 4),
        (32, 3, "3x3 stride 1", 4),
        (64, 5, "3x3 stride 2", 4),
        (105, 1, "3x3 stride 2", 7),
        (224, 3, "7x7 stride 2 + pool stride 2", 7),
    ],
)
def test_resnet18_stem_follows_the_image(side, channels, stem, final):
    facts = check_contract("resnet18", (side, side), channels)[0].facts
    assert (facts.stem, facts.final_map, facts.warning()) == (stem, (final, final), None)


def test_resnet18_keeps_timms_network_at_imagenet_size():
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", image_size=(224, 224)).eval()
    torch.manual_seed(0)
    net = timm.create_model("resnet18", num_classes=0).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(backbone(images), net(images))


def test_pretrained_resnets_keep_their_kernels():
    net = timm.create_model("resnet18", num_classes=0)
    weight = net.conv1.weight
    assert adapt_resnet_stem(net, stem_for((32, 32)), keep_kernel=True) == "7x7 stride 1"
    assert net.conv1.weight is weight
    assert net.forward_features(torch.zeros(1, 3, 32, 32)).shape[2:] == (4, 4)


def test_deep_stems_change_their_stride_only():
    net = timm.create_model("test_resnet", num_classes=0)
    assert isinstance(net.conv1, nn.Sequential)
    assert adapt_resnet_stem(net, stem_for((32, 32)), keep_kernel=False) == "3x3 stride 1"
    assert len(net.conv1) == 7


def test_vit_tokens_become_a_map_row_by_row_without_the_class_token():
    backbone, images = check_contract("vit_tiny_patch16_224", (64, 32))
    with torch.no_grad():
        tokens, features = backbone.net.forward_features(images), backbone.feature_map(images)
    assert backbone.facts.stem == "16x16 patches"
    for row in range(4):
        for column in range(2):
            assert torch.equal(features[:, :, row, column], tokens[:, 1 + 2 * row + column])


def test_swin_maps_are_turned_to_channels_first():
    backbone, images = check_contract("swin_tiny_patch4_window7_224", (64, 64))
    with torch.no_grad():
        last, first = backbone.net.forward_features(images), backbone.feature_map(images)
    assert last.shape == (2, 2, 2, 768)
    assert torch.equal(first[:, :, 0, 1], last[:, 0, 1])


@pytest.mark.parametrize(
    ("name", "size", "channels", "final"),
    [("efficientnet_b0", (64, 64), 1, (2, 2)), ("mobilenetv3_small_050", (128, 96), 3, (4, 3))],
)
def test_other_convnets_keep_their_stem_and_warn(name, size, channels, final):
    facts = check_contract(name, size, channels)[0].facts
    assert (facts.stem, facts.final_map) == ("as in timm", final)
    assert "smaller than 4x4" in facts.warning()


def test_patch_sizes_given_as_one_number():
    facts = create_backbone("xcit_nano_12_p16_224", image_size=(64, 64)).facts
    assert (facts.stem, facts.final_map) == ("16x16 patches", (4, 4))


@pytest.mark.parametrize(
    ("tokens", "size", "prefix", "expected"),
    [
        (197, (224, 224), None, (1, (14, 14))),
        (198, (224, 224), 2, (2, (14, 14))),
        (16, (64, 64), None, (0, (4, 4))),
        (50, (224, 224), None, (1, (7, 7))),
        (9, (64, 32), 1, (1, (4, 2))),
        (8, (32, 64), 0, (0, (2, 4))),
        (1, (224, 224), None, (0, (1, 1))),
    ],
)
def test_token_grid(tokens, size, prefix, expected):
    assert token_grid(tokens, size, prefix) == expected


def test_no_network_tells_what_to_do():
    with pytest.raises(PretaskError, match=r"check the connection, or drop --pretrained") as caught:
        create_backbone("resnet18", image_size=(32, 32), pretrained=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("transport", ["httpx", "httpx2"])
def test_a_lost_connection_is_told_like_no_network(monkeypatch, transport):
    fault = type("ConnectError", (Exception,), {"__module__": transport})

    def lose(*_, **__):
        raise fault("name resolution failed")

    monkeypatch.setattr(timm, "create_model", lose)
    with pytest.raises(PretaskError, match="ConnectError"):
        create_backbone("resnet18", image_size=(32, 32), pretrained=True)


@pytest.mark.parametrize(
    ("name", "size", "pretrained", "words"),
    [
        ("resnet18.nowhere", (32, 32), False, "no weights 'nowhere'"),
        ("vit_small_patch16_18x2_224", (32, 32), True, "no pretrained weights for"),
        ("inception_v3", (32, 32), False, "cannot be used on 32x32x3 images"),
        ("crossvit_9_240", (240, 240), False, "several feature maps"),
    ],
)
def test_faults_in_one_line(name, size, pretrained, words):
    with pytest.raises(PretaskError, match=words) as caught:
        create_backbone(name, image_size=size, pretrained=pretrained)
    assert "\n" not in str(caught.value)
