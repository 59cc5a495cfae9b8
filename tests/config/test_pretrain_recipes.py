"""Recipes of pre-training: read, built and stepped through; one setting for all, so that bases can be compared."""

from __future__ import annotations

import pytest
import torch

from command_line import parsed
from pretask.config.files import build_config
from pretask.config.recipes import read_recipe, read_recipe_for, recipe_names, recipe_text
from pretask.config.sections import PretrainConfig, RunConfig
from pretask.data import ArrayImages, ImageData, LabelledImages
from pretask.errors import PretaskError
from pretask.pretraining import BASES
from pretask.tasks import Pretraining

NAMES = [name for name in recipe_names() if name.startswith("pretrain-")]
OWN = {"data", "method", "base", "hidden_size"}


def test_every_base_and_trimix_have_a_recipe() -> None:
    kinds = (*BASES.names(), "trimix")
    assert {f"pretrain-{kind}-{data}" for kind in kinds for data in ("cifar10", "cifar100")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_setting_is_the_same_for_all(name: str) -> None:
    values, twin = read_recipe(name), read_recipe("pretrain-byol-cifar10")
    assert {k: v for k, v in values.items() if k not in OWN} == {
        k: v for k, v in twin.items() if k not in OWN
    }
    assert name == f"pretrain-{values['method']}-{values['data']}"
    assert values.get("base") == ("byol" if values["method"] == "trimix" else None)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-cifar10")])
def test_recipe_builds_and_steps(name: str) -> None:
    train = LabelledImages(ArrayImages(torch.zeros(4, 3, 32, 32, dtype=torch.uint8)), torch.arange(4) % 2)
    data = ImageData(
        "cifar10", train, None, None, ("a", "b"), 3, (32, 32), (0.5,) * 3, (0.25,) * 3, "crop-flip"
    )
    asked = build_config(PretrainConfig, {**read_recipe(name), "precision": "fp32"})
    task = Pretraining(asked, data)
    assert task.decide(torch.device("cpu")).session.selection == "last"
    objective = task.build()
    parts = objective(torch.rand(4, 3, 32, 32))
    parts["loss"].backward()
    assert parts["loss"].isfinite()
    assert objective.backbone.facts.stem.startswith("3x3")


@pytest.mark.parametrize("name", NAMES)
def test_header_tells_command_target_difference_and_source(name: str) -> None:
    lines = recipe_text(name).splitlines()
    assert all(len(line) <= 120 for line in lines)
    for command in (
        f"pretask pretrain --recipe {name} --name {name}-seed0",
        f"pretask evaluate runs/{name}-seed0 --protocol knn linear",
    ):
        assert any(line.endswith(f": {command}") for line in lines)
        parsed(command.split()[1:])
    (target,) = [line for line in lines if line.startswith("# target")]
    assert target.startswith(("# target, second-hand, not verified: ", "# target: none at hand"))
    assert "# different from the paper:" in lines
    assert any(line.startswith("# source: ") for line in lines)
    assert ("reconstructed" in lines[0]) is ("trimix" in name)


def test_recipes_are_for_their_own_command() -> None:
    with pytest.raises(PretaskError, match="pretask pretrain --recipe pretrain-byol-cifar10"):
        read_recipe_for(RunConfig, "pretrain-byol-cifar10")
    with pytest.raises(PretaskError, match="pretask train --recipe sla-cifar10"):
        read_recipe_for(PretrainConfig, "sla-cifar10")
