"""Normalisation of pixels: the same values in either memory format."""

from __future__ import annotations

import pytest
import torch

from pretask.methods.encoder import Normalize


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 1, 4, 4), (1, 4, 1, 3), (3, 3, 6, 1)])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_values_are_those_of_each_channel(shape, memory_format):
    channels = shape[1]
    mean, std = [0.1 * (c + 1) for c in range(channels)], [0.2 + 0.1 * c for c in range(channels)]
    images = torch.rand(shape).contiguous(memory_format=memory_format).requires_grad_()
    out = Normalize(mean, std)(images)
    for c in range(channels):
        assert torch.equal(out[:, c], (images[:, c] - torch.tensor(mean[c])) / torch.tensor(std[c]))
    assert out.is_contiguous(memory_format=memory_format)
    (gradient,) = torch.autograd.grad(out.sum(), images)
    torch.testing.assert_close(gradient, (1 / torch.tensor(std)).view(-1, 1, 1).expand(shape))
    assert gradient.is_contiguous(memory_format=memory_format)


def test_a_channel_that_never_varies_is_not_divided():
    out = Normalize((0.5,), (0.0,))(torch.full((1, 1, 2, 2), 0.75))
    assert torch.equal(out, torch.full((1, 1, 2, 2), 0.25))
