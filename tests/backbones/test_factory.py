"""Names: who answers to which, what is listed, and what is said about a wrong one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pretask.backbones
from pretask.backbones import backbone_names, create_backbone, resolve_backbone_name
from pretask.backbones.cifar_resnet import CifarResNet
from pretask.backbones.timm_models import TimmBackbone
from pretask.errors import PretaskError


@pytest.mark.parametrize(
    ("size", "expected"), [((8, 8), "resnet20"), ((128, 128), "resnet20"), ((64, 129), "resnet18")]
)
def test_auto_follows_the_longer_side(size, expected):
    assert resolve_backbone_name("auto", size) == expected
    assert resolve_backbone_name("wrn-16-4", size) == "wrn-16-4"


def test_auto_is_created_under_its_resolved_name():
    assert create_backbone("auto", image_size=(32, 32)).facts.name == "resnet20"


def test_cifar_names_are_exact_and_the_rest_is_timms():
    assert isinstance(create_backbone("resnet14", image_size=(32, 32)), CifarResNet)
    assert isinstance(create_backbone("resnet18", image_size=(32, 32)), TimmBackbone)


def test_listing():
    names = backbone_names()
    assert len(names) == len(set(names)) > 1000
    assert names.index("resnet20") < names.index("resnet18")
    assert backbone_names("wrn-40") == ["wrn-40-2"]
    assert backbone_names("resnet?8") == ["resnet18"]
    assert backbone_names("nothing-like-it") == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet21", "resnet20"),
        ("WRN-28-10", "wrn-28-10"),
        ("efficientnetb0", "efficientnet_b0"),
        ("wrn-27-10", "wrn-28-10"),
        ("wrn-4-0", "wrn-10-1"),
    ],
)
def test_unknown_names_tell_the_nearest(name, nearest):
    with pytest.raises(PretaskError, match=nearest) as caught:
        create_backbone(name, image_size=(32, 32))
    assert f"unknown backbone '{name}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet20", {"pretrained": True}, "no pretrained weights for resnet20: drop --pretrained"),
        ("resnet20", {"dropout": 0.1}, "resnet20 has no dropout"),
        ("wrn-10-1", {"dropout": 1.0}, "dropout 1.0"),
        ("resnet20", {"image_size": (0, 32)}, "0x32"),
        ("resnet20", {"in_channels": 0}, "0 channels"),
        ("hf-hub:some/model", {}, "unknown backbone"),
    ],
)
def test_impossible_requests(name, options, words):
    with pytest.raises(PretaskError, match=words) as caught:
        create_backbone(name, **{"image_size": (32, 32), **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file", sorted(Path(pretask.backbones.__file__).parent.glob("*.py")), ids=lambda file: file.name
)
def test_nothing_imports_timm_before_it_is_needed(file):
    """timm takes seconds to import, and the CIFAR networks do without it."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] != "timm" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] != "timm"
