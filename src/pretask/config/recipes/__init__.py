"""Published settings: one YAML file each, flat, with a header that gives command, target and source."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from pretask.config.files import AnyConfig, any_config
from pretask.errors import PretaskError, unknown_name
from pretask.io.documents import parse_yaml


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(f.name.removesuffix(".yaml") for f in files(__name__).iterdir() if f.name.endswith(".yaml"))


def read_recipe(name: str) -> dict[str, Any]:
    """Return the settings of a recipe, of a training with labels or of a pre-training.

    Raises:
        PretaskError: an unknown name; the message names the nearest.
    """
    if name not in recipe_names():
        raise unknown_name("recipe", name, recipe_names())
    values: dict[str, Any] = parse_yaml(recipe_text(name), f"recipe {name}")
    any_config(values, source=f"recipe {name}")
    return values


def read_recipe_for(kind: type[AnyConfig], name: str) -> dict[str, Any]:
    """Return the settings of a recipe for a command that takes configurations of a kind.

    Raises:
        PretaskError: an unknown name, or a recipe of another kind.
    """
    values = read_recipe(name)
    found = any_config(values)
    if found.kind != kind.kind:
        raise PretaskError(
            f"recipe {name} is not for this command: type `pretask {found.command} --recipe {name}`"
        )
    return values


RUN_HERE = "# run here: "
"""How the line of a header begins that says what a run of the recipe by this project came to, and where it is told."""


def recipe_result(name: str) -> str:
    """Return what a run of the recipe by this project came to; "" where there was none."""
    lines = recipe_text(name).splitlines()
    return next((line.removeprefix(RUN_HERE) for line in lines if line.startswith(RUN_HERE)), "")


def recipe_text(name: str) -> str:
    """Return the file of the recipe `name`, its header of comments included."""
    return files(__name__).joinpath(f"{name}.yaml").read_text()
