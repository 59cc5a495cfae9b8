"""Augmentation recipes by name, the same in both kinds of loader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pretask.errors import unknown_name

CROP_SCALE = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
"""Area share and aspect ratio of a resized crop: Szegedy et al., arXiv 1409.4842, as torchvision has them."""


@dataclass(frozen=True)
class Recipe:
    """What is done to each training image, in this order.

    Attributes:
        crop: "pad" shifts the image by up to an eighth of its side, over zeros (4 of 32 pixels, the CIFAR
            recipe of He et al., arXiv 1512.03385); "resized" cuts out a random part and resizes it.
        flip: mirror it left to right, every other time.
        randaugment: RandAugment, two operations of magnitude 9 (Cubuk et al., arXiv 1909.13719).
    """

    name: str
    description: str
    crop: Literal["pad", "resized"] | None = None
    flip: bool = False
    randaugment: bool = False


_RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("none", "the image as it is"),
        Recipe("flip", "mirrored left to right half of the time", flip=True),
        Recipe("crop", "shifted by up to an eighth of its side, zeros filled in", crop="pad"),
        Recipe("crop-flip", "crop, then flip: small images", crop="pad", flip=True),
        Recipe("resized-crop", "a random part, 8 to 100 % of the area, resized", crop="resized"),
        Recipe("resized-crop-flip", "resized-crop, then flip: photos", crop="resized", flip=True),
        Recipe("randaugment", "two random colour or shape changes of magnitude 9", randaugment=True),
        Recipe(
            "crop-flip-randaugment", "crop-flip, then randaugment", crop="pad", flip=True, randaugment=True
        ),
        Recipe(
            "resized-crop-flip-randaugment",
            "resized-crop-flip, then randaugment",
            crop="resized",
            flip=True,
            randaugment=True,
        ),
    )
}


def augment_names() -> list[str]:
    """Return the recipes, the plainest first."""
    return list(_RECIPES)


def augment_descriptions() -> dict[str, str]:
    """Return each recipe's name and what it does, in one line."""
    return {name: recipe.description for name, recipe in _RECIPES.items()}


def get_recipe(name: str) -> Recipe:
    """Return a recipe; an unknown name is a `PretaskError` that tells the nearest one."""
    if name not in _RECIPES:
        raise unknown_name("augmentation", name, _RECIPES)
    return _RECIPES[name]


def recommended_augment(image_size: tuple[int, int], flip: bool = True) -> str:
    """Return the usual recipe for a size: shifts up to 64 pixels, resized crops above.

    `flip` is False where a mirrored image means something else: digits, letters, X-rays.
    """
    crop = "crop" if max(image_size) <= 64 else "resized-crop"
    return f"{crop}-flip" if flip else crop


def padding(image_size: tuple[int, int]) -> tuple[int, int]:
    """Return how far "crop" shifts, vertically and horizontally."""
    return image_size[0] // 8, image_size[1] // 8
