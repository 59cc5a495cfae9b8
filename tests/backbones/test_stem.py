"""The stem rule: which image sizes get which stem, and what the rule promises about the final map."""

from __future__ import annotations

import pytest
import torch

from pretask import tasks
from pretask.backbones import create_backbone
from pretask.backbones.stem import stem_convolution, stem_for, stem_pool
from pretask.errors import PretaskError
from pretask.methods import load_classifier, read_card


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "pool", "last_stage"),
    [
        (8, 3, 1, False, 1),
        (12, 3, 1, False, 1),
        (13, 3, 1, False, 2),
        (40, 3, 1, False, 2),
        (41, 3, 2, False, 2),
        (112, 3, 2, False, 2),
        (113, 7, 2, True, 2),
        (224, 7, 2, True, 2),
    ],
)
def test_rule_at_its_borders(side, kernel, stride, pool, last_stage):
    stem = stem_for((side, side))
    assert (stem.kernel, stem.stride, stem.pool, stem.stages[2]) == (kernel, stride, pool, last_stage)


def test_longer_side_decides():
    assert stem_for((20, 64)) == stem_for((64, 20)) == stem_for((64, 64))


@pytest.mark.parametrize("side", [*range(8, 225, 3), 28, 32, 64, 96, 105, 128, 224])
def test_three_stages_end_between_4_and_14(side):
    stem = stem_for((side, side))
    features = stem_pool(stem)(stem_convolution(stem, 1, 1)(torch.zeros(1, 1, side, side)))
    height = features.shape[-1]
    for stride in stem.stages:
        height = -(-height // stride)
    assert 4 <= height <= 14


def test_words():
    assert stem_for((32, 32)).words == "3x3 stride 1"
    assert stem_for((224, 224)).words == "7x7 stride 2 + pool stride 2"


@pytest.mark.parametrize(
    ("asked", "words", "final"),
    [("1", "3x3 stride 1", 8), ("2", "3x3 stride 2", 4), ("4", "7x7 stride 2 + pool stride 2", 2)],
)
def test_a_stem_may_be_asked_for(asked, words, final):
    """At 64 pixels: 1 is that of the networks of Tiny-ImageNet papers."""
    for name, shrinks in (("resnet18", 1), ("resnet8", 2), ("wrn-10-1", 2)):
        facts = create_backbone(name, image_size=(64, 64), stem=asked).facts
        assert (facts.stem, facts.final_map) == (words, (final * shrinks,) * 2)


def test_networks_with_a_stem_of_their_own_refuse_another():
    for name in ("resnet12", "mobilenetv3_small_050"):
        with pytest.raises(PretaskError, match="has a stem of its own: drop --stem"):
            create_backbone(name, image_size=(64, 64), stem="1")


def test_a_run_with_a_stem_is_read_and_gone_on_from_with_it(configure, tmp_path):
    """Weights of stems of stride 1 and 2 have one shape: what rebuilds the network must know which."""
    small = {"method": "baseline", "epochs": 1, "image_size": 16, "per_class": 4, "validation": 10}
    tasks.train(configure(stem="2", **small))
    assert "stem: '2'" in (tmp_path / "run/config.yaml").read_text()
    loaded = load_classifier(tmp_path / "run")
    assert loaded.backbone.facts.stem == "3x3 stride 2"
    tasks.train(configure(init=str(tmp_path / "run"), name="next", **small))
    assert read_card(tmp_path / "next").stem == "2"
