"""What the network sees is the same in bf16 as in float32: every method, every augmentation, every objective."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from pretask.backbones import create_backbone
from pretask.methods import METHODS, MethodParts, Trainee, create_method
from pretask.methods.episodic import EpisodicMethod
from pretask.methods.random_change import RandomChange
from pretask.methods.strong_views import StrongViews
from pretask.pretexts import create_pretexts
from pretask.pretraining import OBJECTIVES, STRENGTHS, ObjectiveParts, create_objective, get_strength
from pretask.pretraining.views import RandomViews

SIDE, CLOSE = 12, 1e-6
STATISTICS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.25)}
OVER = ("baseline", "gssl", "sla-sd", "ssfe")
IMAGES = torch.rand(14, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(14) % 3


@contextmanager
def watched(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what goes into a network."""
    seen: list[Tensor] = []
    handle = network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    yield seen
    handle.remove()


def inputs_of(trainee: Trainee, images: Tensor, precision: str) -> list[Tensor]:
    """Return what the network sees in a step."""
    trainee = copy.deepcopy(trainee).train()  # a moving average is a network of its own, which sees the same
    with (
        watched(trainee.backbone) as seen,
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        torch.manual_seed(11)
        trainee(images, LABELS[: len(images)])
    return seen


def check(trainee: Trainee, images: Tensor = IMAGES) -> None:
    in_full, in_half = (inputs_of(trainee, images, precision) for precision in ("fp32", "bf16"))
    assert in_full and [x.shape for x in in_full] == [x.shape for x in in_half]
    for one, other in zip(in_full, in_half, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert (one - other).abs().max() < CLOSE


def network() -> nn.Module:
    return create_backbone("resnet8", image_size=(SIDE, SIDE))


@pytest.mark.parametrize("name", [*METHODS.names(), *(f"fixmatch+{inner}" for inner in OVER)])
def test_methods(name: str) -> None:
    torch.manual_seed(0)
    parts = MethodParts(network(), torch.tensor([5, 5, 4]), **STATISTICS)
    options = {"unlabelled_ratio": 3} if name.startswith("fixmatch") else {}
    check(create_method(name, parts, **options), IMAGES[:8])


@pytest.mark.parametrize("name", OBJECTIVES.names())
@pytest.mark.parametrize("strength", ["small", "photo"])
def test_objectives(name: str, strength: str) -> None:
    torch.manual_seed(0)
    parts = ObjectiveParts(network(), strength=get_strength(strength), **STATISTICS)
    check(create_objective(name, parts))


@pytest.mark.parametrize("head", ["prototypes", "ridge"])
def test_episodes(head: str) -> None:
    torch.manual_seed(0)
    pretexts = create_pretexts("rotation")
    check(EpisodicMethod(network(), *STATISTICS.values(), head, ways=2, shots=3, pretexts=pretexts))


AUGMENTATIONS: dict[str, RandomChange] = {
    "strong": StrongViews(),
    **{name: RandomViews(get_strength(name), (SIDE, SIDE), 3) for name in STRENGTHS},
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations(name: str) -> None:
    """Bit for bit, and with as many values as pixels have: half of the strong views once held 0 and 1 alone."""
    views = []
    for enabled in (False, True):
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            views.append(AUGMENTATIONS[name](IMAGES))
    assert torch.equal(*views)
    assert all(len(view.unique()) > 2 for view in views[1])
