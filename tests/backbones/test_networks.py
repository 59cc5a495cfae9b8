"""The three families built here: exact sizes, shapes at every image size, and the literature's details."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pretask.backbones import create_backbone
from pretask.backbones.cifar_resnet import BasicBlock, option_a_shortcut
from pretask.backbones.stem import stem_for
from pretask.backbones.wide_resnet import WideResNet

IMAGE = (32, 32)


def convolution(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel * kernel


# The published counts are for ten classes with a bias: the linear layer is subtracted.
@pytest.mark.parametrize(
    ("depth", "with_head"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_cifar_resnet_parameter_counts(depth, with_head):
    assert create_backbone(f"resnet{depth}", image_size=IMAGE).facts.num_parameters == with_head - 650


@pytest.mark.parametrize(("depth", "width", "with_head"), [(28, 10, 36_479_194), (40, 2, 2_243_546)])
def test_wide_resnet_parameter_counts(depth, width, with_head):
    with torch.device("meta"):
        network = WideResNet(depth, width, stem_for(IMAGE))
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == with_head - (64 * width + 1) * 10


def test_resnet12_parameter_count_by_hand():
    count, inputs = 0, 3
    for width in (64, 160, 320, 640):
        count += convolution(inputs, width, 3) + 2 * convolution(width, width, 3)
        count += convolution(inputs, width, 1) + 4 * 2 * width
        inputs = width
    facts = create_backbone("resnet12", image_size=(84, 84)).facts
    assert facts.num_parameters == count
    assert facts.final_map == (5, 5)


@pytest.mark.parametrize("name", ["resnet8", "wrn-10-1"])
@pytest.mark.parametrize(
    ("size", "channels"), [(8, 1), (28, 1), (32, 3), (64, 5), (96, 3), (105, 1), (224, 3)]
)
def test_shapes_agree_with_the_facts(name, size, channels):
    backbone = create_backbone(name, image_size=(size, size), in_channels=channels).eval()
    images = torch.randn(1, channels, size, size)
    with torch.no_grad():
        features, pooled = backbone.feature_map(images), backbone(images)
    facts = backbone.facts
    assert features.shape == (1, facts.map_channels, *facts.final_map)
    assert pooled.shape == (1, backbone.num_features)
    assert facts.warning() is None
    torch.testing.assert_close(pooled, features.mean((2, 3)))


@pytest.mark.parametrize(("size", "final"), [(8, 4), (28, 7), (32, 4), (64, 4), (84, 5), (105, 6), (224, 14)])
def test_resnet12_pools_while_4x4_is_left(size, final):
    facts = create_backbone("resnet12", image_size=(size, size), in_channels=1).facts
    assert facts.final_map == (final, final)
    assert facts.warning() is None


def test_option_a_shortcut_against_a_literal_reference():
    x = torch.randn(2, 3, 5, 7)
    expected = torch.zeros(2, 8, 3, 4)
    for image in range(2):
        for channel in range(3):
            for row in range(3):
                for column in range(4):
                    # 5 channels are missing: 2 before, 3 after
                    expected[image, channel + 2, row, column] = x[image, channel, 2 * row, 2 * column]
    assert torch.equal(option_a_shortcut(x, 8, 2), expected)


def test_option_a_shortcut_hands_its_gradient_back_in_the_format_of_its_input():
    for memory_format in (torch.channels_last, torch.contiguous_format):
        x = torch.randn(2, 3, 6, 8).contiguous(memory_format=memory_format).requires_grad_()
        given = torch.randn(2, 8, 3, 4).contiguous(memory_format=memory_format)
        (gradient,) = torch.autograd.grad(option_a_shortcut(x, 8, 2), x, given)
        assert gradient.is_contiguous(memory_format=memory_format)
        expected = torch.zeros_like(x)
        expected[:, :, ::2, ::2] = given[:, 2:5]
        assert torch.equal(gradient, expected)


def test_basic_block_adds_the_shortcut_before_the_last_relu():
    block = BasicBlock(4, 8, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)
    nn.init.constant_(block.bn2.bias, -0.25)
    x = torch.randn(2, 4, 6, 6)
    expected = (option_a_shortcut(x, 8, 2) - 0.25).clamp(min=0)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet12"])
def test_dropout_acts_in_training_only(name):
    backbone = create_backbone(name, image_size=(8, 8), dropout=0.5)
    images = torch.randn(2, 3, 8, 8)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    assert not torch.equal(backbone(images), backbone(images))
    backbone.eval()
    assert torch.equal(backbone(images), backbone(images))


@pytest.mark.parametrize("name", ["resnet8", "wrn-10-1", "test_resnet"])
def test_weights_follow_the_seed(name):
    def build(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(create_backbone(name, image_size=(32, 32)).parameters())

    first = build(1)
    assert torch.equal(first, build(1))
    assert not torch.equal(first, build(2))


def test_convolutions_have_the_variance_of_he():
    torch.manual_seed(0)
    weight = create_backbone("wrn-10-4", image_size=IMAGE).blocks[2].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("name", ["resnet8", "wrn-10-1", "test_resnet", "test_vit"])
def test_bfloat16_channels_last_and_compile(name):
    size = (32, 32)
    backbone = create_backbone(name, image_size=size).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, *size).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = backbone(images)
    assert pooled.isfinite().all()
    assert pooled.dtype == (
        torch.float32 if name == "test_vit" else torch.bfloat16
    )  # layer norm answers in 32
    if name != "test_vit":
        assert backbone.feature_map(images).is_contiguous(memory_format=torch.channels_last)
    backbone.eval()
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), backbone(images))
    torch.compiler.reset()


@pytest.mark.parametrize("name", ["resnet8", "wrn-10-1", "resnet12"])
def test_every_parameter_learns(name):
    backbone = create_backbone(name, image_size=(16, 16))
    backbone(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())
