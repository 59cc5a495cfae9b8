"""Recipes of training by episodes: families that differ in head and pretexts alone, headers that hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from command_line import parsed
from pretask.config.files import build_config
from pretask.config.recipes import read_recipe, recipe_names, recipe_text
from pretask.config.sections import FewShotConfig
from pretask.data import ArrayImages, ImageData, LabelledImages
from pretask.data.splits.classes import ClassSplit
from pretask.tasks import Episodes

NAMES = [name for name in recipe_names() if name.startswith("few-shot-")]
OWN = {"data", "image_size", "head", "pretexts"}


def test_every_published_setting_has_a_recipe() -> None:
    heads, sets = ("proto", "proto-sla", "ridge", "ridge-sla"), ("mini-imagenet", "cifar-fs", "fc100")
    kinds = {(kind, data) for kind in heads for data in sets}
    assert {f"few-shot-{kind}-{data}" for kind, data in kinds} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_recipes_differ_in_data_head_and_pretexts_alone(name: str) -> None:
    values, twin = read_recipe(name), read_recipe("few-shot-proto-cifar-fs")
    assert {k: v for k, v in values.items() if k not in OWN} == {
        k: v for k, v in twin.items() if k not in OWN
    }
    assert values["data"].removeprefix("data/") in name
    assert values["head"] == ("ridge" if "-ridge-" in name else "prototypes")
    assert values.get("pretexts", []) == (["rotation"] if "-sla-" in name else [])


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-cifar-fs")])
def test_recipe_builds_and_steps(name: str) -> None:
    asked = build_config(FewShotConfig, {**read_recipe(name), "precision": "fp32"})
    train = LabelledImages(ArrayImages(torch.zeros(4, 3, 32, 32, dtype=torch.uint8)), torch.arange(4) % 2)
    data = ImageData("x", train, None, None, ("a", "b"), 3, (32, 32), (0.5,) * 3, (0.25,) * 3, "crop-flip")
    small = replace(asked, episodes=replace(asked.episodes, ways=2, shots=1, queries=1))
    method = Episodes(small, ClassSplit(data, data, data)).build()
    parts = method(torch.rand(4, 3, 32, 32), torch.tensor([0, 0, 1, 1]))
    parts["loss"].backward()
    assert parts["loss"].isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_header_tells_command_target_difference_and_source(name: str) -> None:
    lines = recipe_text(name).splitlines()
    assert all(len(line) <= 120 for line in lines)
    for shots, more in ((1, ""), (5, " --shots 5")):
        command = f"pretask few-shot --recipe {name}{more} --name {shots}-shot-seed0"
        assert any(line.endswith(f": {command}") for line in lines)
        parsed(command.split()[1:])
    assert any(line.startswith(("# target, second-hand, not verified: ", "# target: none")) for line in lines)
    assert "# different from the paper:" in lines
    assert any(line.startswith("# source: ") for line in lines)
