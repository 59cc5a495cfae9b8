"""How the tests of this folder make an objective."""

from __future__ import annotations

import torch
from torch import nn

from pretask.backbones import Backbone, BackboneFacts, create_backbone
from pretask.pretraining import BASES, Objective, ObjectiveParts, create_objective, get_strength


class OneLayer(Backbone):
    """A convolution, batch-normalised: the least whose features depend on the whole batch."""

    num_features, stem_words = 6, "3x3"
    facts = BackboneFacts("one-layer", 174, "3x3", (4, 4), 6, 6, 3, (8, 8), False)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        )

    def feature_map(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def make(
    name: str, *, plain_views: bool = True, tiny: bool = False, base: str = "byol", **options
) -> Objective:
    """Make an objective in double precision on images of 8x8, over byol, without random views unless asked for."""
    torch.manual_seed(0)
    options = {"hidden_size": 16, "embedding_size": 8, **options}
    if name not in BASES.names():
        options["base"] = base
    parts = ObjectiveParts(
        backbone=OneLayer() if tiny else create_backbone("resnet8", image_size=(8, 8)),
        mean=(0.3,) * 3,
        std=(0.2,) * 3,
        strength=get_strength("small"),
    )
    objective = create_objective(name, parts, **options)
    if plain_views:
        objective.augment = nn.Identity()
    return objective.double().train()


def images(count: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(count, 3, 8, 8, generator=generator, dtype=torch.float64)
