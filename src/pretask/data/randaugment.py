"""Randomness of one image by its own seed; RandAugment with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torchvision.transforms import v2

RANDAUGMENT = v2.RandAugment(num_ops=2, magnitude=9)
"""RandAugment (Cubuk et al., arXiv 1909.13719) of uint8 [C, H, W], 1 or 3 channels, as torchvision has it."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator, which torchvision draws from, and put it back afterwards."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
    try:
        yield
    finally:
        torch.set_rng_state(state)


def randaugment(image: Tensor, seed: int) -> Tensor:
    """Apply RandAugment to one image, uint8 [C, H, W], with randomness from `seed` alone."""
    with seeded(seed):
        changed: Tensor = RANDAUGMENT(image)
    return changed
